/**
 * A record of Windows in ECS words. Its own fields stay under `winlog`, so that Sigma rules for Windows find them under the names that
 * they give. Source: ECS 9 field sets; Winlogbeat modules sysmon and security.
 */
import type { Event } from '../events/event.ts'
import {
  addressIn,
  anyGiven,
  baseName,
  extensionOf,
  folderName,
  given,
  pidIn,
  portIn,
  type Scalar,
  textIn,
  wholeNumber,
} from './record-values.ts'
import { parseTime } from './record-time.ts'
import { type WindowsKind, windowsKind } from './windows-kinds.ts'
import type { WindowsRecord } from './windows-record.ts'

type Get = (...names: readonly string[]) => string | undefined
type ProcessFields = NonNullable<Event['process']>
type UserFields = NonNullable<Event['user']>

export function ecsOfWindows(record: WindowsRecord, at: string): Event {
  const kind = kindFor(record)
  const get: Get = (...names) => {
    for (const name of names) {
      const found = textIn(record.data.get(name) ?? record.userData?.get(name) ?? record.unpacked?.get(name))
      if (found !== undefined) return found
    }
    return undefined
  }
  const isLinux = record.channel?.startsWith('Linux-') === true
  return {
    '@timestamp': at,
    event: given({
      category: [...kind.category],
      type: [...kind.type],
      action: kind.action,
      code: record.eventId,
      provider: record.provider,
      outcome: kind.outcome ?? outcomeIn(get),
    }) as Event['event'],
    host: given({ name: record.computer, os: { type: isLinux ? 'linux' : 'windows' } }),
    winlog: winlogOf(record),
    ...given({
      process: processOf(kind, get),
      user: userOf(kind, get),
      file: kind.about === 'file' || kind.about === 'object' ? fileOf(get, kind) : undefined,
      registry: kind.about === 'registry' || kind.category[0] === 'registry' ? registryOf(get) : undefined,
      dll: kind.about === 'library' ? libraryOf(get) : undefined,
      service: kind.about === 'service' ? serviceOf(get) : undefined,
      message: messageOf(get),
    }),
    ...networkOf(kind, get),
  }
}

/** Id 12 of Sysmon is three things and object access is two: a field tells which. */
function kindFor({ channel, provider, eventId, data }: WindowsRecord): WindowsKind {
  const kind = windowsKind(channel, provider, eventId)
  if (kind.action === 'registry-key-changed') {
    const type = String(data.get('EventType') ?? '')
    if (/^create/i.test(type)) return { ...kind, type: ['creation'], action: 'registry-key-created' }
    if (/^delete/i.test(type)) return { ...kind, type: ['deletion'], action: 'registry-deleted' }
    return kind
  }
  if (kind.about === 'object' && kind.category[0] === 'file') {
    const object = data.get('ObjectType')
    if (object === 'Key') return { ...kind, category: ['registry'] }
    if (object === 'Process' || object === 'Thread') return { ...kind, category: ['process'] }
    if (object !== 'File' && object !== undefined) return { ...kind, category: ['host'], type: ['info'] }
  }
  return kind
}

function outcomeIn(get: Get): Event['event']['outcome'] | undefined {
  const status = get('Status')
  if (status === '0x0') return 'success'
  return status !== undefined && /^0x[0-9a-f]{1,8}$/i.test(status) ? 'failure' : undefined
}

function winlogOf(record: WindowsRecord): NonNullable<Event['winlog']> {
  const object = (data: ReadonlyMap<string, Scalar | Scalar[]> | undefined) =>
    data === undefined || data.size === 0 ? undefined : Object.fromEntries(data)
  return given({
    channel: record.channel,
    event_id: record.eventId,
    provider_name: record.provider,
    provider_guid: record.providerGuid,
    computer_name: record.computer,
    record_id: record.recordId,
    event_data: object(record.data),
    user_data: object(record.userData),
  })
}

function processOf(kind: WindowsKind, get: Get): ProcessFields | undefined {
  const isSecurityStart = get('NewProcessName') !== undefined
  const executable = get('NewProcessName', 'Image', 'SourceImage', 'ProcessName', 'Application')
  const commandLine = kind.about === 'process' ? get('CommandLine') : undefined
  const pid = pidIn(get('NewProcessId') ?? get('ProcessId', 'SourceProcessId', 'ProcessID'))
  const parentImage = get('ParentImage', 'ParentProcessName')
  const user = kind.about === 'process' ? accountIn(get('User')) : undefined
  const start = kind.type[0] === 'start' && kind.about === 'process' ? startOf(get) : undefined
  return anyGiven({
    pid: pid === 0 && executable === undefined ? undefined : pid,
    entity_id: get('ProcessGuid', 'SourceProcessGUID', 'SourceProcessGuid'),
    name: executable === undefined ? undefined : baseName(executable),
    executable,
    command_line: commandLine,
    working_directory: get('CurrentDirectory'),
    start,
    user,
    hash: kind.action === 'process-started' ? hashesIn(get('Hashes', 'Hash')) : undefined,
    pe: kind.action === 'process-started' ? peOf(get) : undefined,
    parent: anyGiven({
      pid: pidIn(isSecurityStart ? get('ProcessId') : get('ParentProcessId')),
      entity_id: get('ParentProcessGuid'),
      name: parentImage === undefined ? undefined : baseName(parentImage),
      executable: parentImage,
      command_line: get('ParentCommandLine'),
    }),
  })
}

function startOf(get: Get): string | undefined {
  const at = parseTime(get('UtcTime'))
  return at === undefined ? undefined : new Date(at).toISOString()
}

function peOf(get: Get): ProcessFields['pe'] {
  return anyGiven({
    original_file_name: get('OriginalFileName'),
    description: get('Description'),
    product: get('Product'),
    company: get('Company'),
    file_version: get('FileVersion'),
    imphash: digestIn(get('Hashes', 'Hash'), 'IMPHASH', 32),
  })
}

/** `SHA1=...,MD5=...,SHA256=...,IMPHASH=...` */
function hashesIn(text: string | undefined): ProcessFields['hash'] {
  return anyGiven({
    sha256: digestIn(text, 'SHA256', 64),
    sha1: digestIn(text, 'SHA1', 40),
    md5: digestIn(text, 'MD5', 32),
  })
}

function digestIn(text: string | undefined, name: string, length: number): string | undefined {
  const found = text?.split(',', 16).find((part) => part.trim().toUpperCase().startsWith(`${name}=`))
  const digest = found
    ?.slice(found.indexOf('=') + 1)
    .trim()
    .toLowerCase()
  return digest !== undefined && digest.length === length && /^[0-9a-f]+$/.test(digest) && !/^0+$/.test(digest)
    ? digest
    : undefined
}

/** `DOMAIN\name`. */
function accountIn(text: string | undefined): { name: string; domain?: string } | undefined {
  if (text === undefined) return undefined
  const at = text.indexOf('\\')
  return at > 0 ? { domain: text.slice(0, at), name: text.slice(at + 1) } : { name: text }
}

function userOf(kind: WindowsKind, get: Get): UserFields | undefined {
  const subject = anyGiven({
    id: get('SubjectUserSid'),
    name: get('SubjectUserName'),
    domain: get('SubjectDomainName'),
  })
  const target = anyGiven({
    id: get('TargetUserSid', 'TargetSid'),
    name: get('TargetUserName'),
    domain: get('TargetDomainName'),
  })
  const isLogon = kind.category[0] === 'authentication' || kind.category[0] === 'session'
  // Whoever logs in is the one that it is about.
  if (isLogon && target?.name !== undefined) return target
  if (subject !== undefined) return { ...subject, ...(kind.category[0] === 'iam' && target ? { target } : {}) }
  const account = accountIn(get('User'))
  if (account !== undefined) return account
  return anyGiven({ name: get('AccountName'), domain: get('Domain') })
}

function fileOf(get: Get, kind: WindowsKind): Event['file'] | undefined {
  if (kind.about === 'object' && kind.category[0] !== 'file') return undefined
  const path =
    get('TargetFilename', 'PipeName') ?? (kind.about === 'object' ? get('ObjectName') : shareOf(get)) ?? get('FileName')
  if (path === undefined) return undefined
  const name = baseName(path)
  return {
    path,
    ...given({
      name: name === '' ? undefined : name,
      directory: folderName(path),
      extension: extensionOf(name),
      hash: hashesIn(get('Hashes', 'Hash')),
    }),
  }
}

function shareOf(get: Get): string | undefined {
  const share = get('ShareName')
  const relative = get('RelativeTargetName')
  if (share === undefined) return undefined
  return relative === undefined || relative === '\\' ? share : `${share}\\${relative}`
}

const HIVES: Readonly<Record<string, string>> = {
  '\\REGISTRY\\MACHINE': 'HKLM',
  '\\REGISTRY\\USER': 'HKU',
  HKEY_LOCAL_MACHINE: 'HKLM',
  HKEY_USERS: 'HKU',
  HKLM: 'HKLM',
  HKU: 'HKU',
  HKCR: 'HKCR',
}

function registryOf(get: Get): Event['registry'] | undefined {
  const path = get('TargetObject', 'ObjectName')
  const details = get('Details', 'NewValue', 'NewName')
  if (path === undefined) return undefined
  const hive = Object.entries(HIVES).find(([prefix]) => path.toUpperCase().startsWith(`${prefix}\\`))
  const value = get('ObjectValueName') ?? (details === undefined ? undefined : baseName(path))
  return given({
    path,
    hive: hive?.[1],
    key: hive === undefined ? undefined : path.slice(hive[0].length + 1),
    value,
    data: details === undefined ? undefined : { strings: [details] },
  })
}

function libraryOf(get: Get): Event['dll'] | undefined {
  const path = get('ImageLoaded')
  return path === undefined
    ? undefined
    : { path, name: baseName(path), ...given({ hash: hashesIn(get('Hashes', 'Hash')), pe: peOf(get) }) }
}

function serviceOf(get: Get): Event['service'] | undefined {
  return anyGiven({ name: get('ServiceName', 'param1'), state: get('StartType', 'param2') })
}

/** The first line; the whole stays in the record. */
function messageOf(get: Get): string | undefined {
  const text = get('Message', 'message')
  return text === undefined ? undefined : (text.split(/\r?\n/, 1)[0] ?? '').slice(0, 1_024)
}

const PROTOCOLS: Readonly<Record<string, NonNullable<NonNullable<Event['network']>['transport']>>> = {
  tcp: 'tcp',
  udp: 'udp',
  '6': 'tcp',
  '17': 'udp',
  '1': 'icmp',
  '58': 'ipv6-icmp',
  '132': 'sctp',
}

function networkOf(kind: WindowsKind, get: Get): Pick<Event, 'source' | 'destination' | 'network' | 'dns'> {
  if (kind.about === 'dns') return dnsOf(get)
  if (kind.about === 'account' || kind.about === 'file') {
    const source = anyGiven({ ip: addressIn(get('IpAddress')), port: portIn(get('IpPort')) })
    return source?.ip === undefined ? {} : { source }
  }
  if (kind.about !== 'network') return {}
  const source = anyGiven({
    ip: addressIn(get('SourceIp', 'SourceAddress')),
    port: portIn(get('SourcePort')),
    domain: get('SourceHostname'),
  })
  const destination = anyGiven({
    ip: addressIn(get('DestinationIp', 'DestAddress')),
    port: portIn(get('DestinationPort', 'DestPort')),
    domain: get('DestinationHostname'),
  })
  const address = destination?.ip ?? source?.ip
  const transport = PROTOCOLS[get('Protocol')?.toLowerCase() ?? '']
  const network = anyGiven({
    transport,
    type: address === undefined ? undefined : address.includes(':') ? ('ipv6' as const) : ('ipv4' as const),
    direction: directionOf(get),
  })
  return given({ source, destination, network })
}

function directionOf(get: Get): 'ingress' | 'egress' | undefined {
  const initiated = get('Initiated')
  if (initiated !== undefined) return initiated.toLowerCase() === 'true' ? 'egress' : 'ingress'
  // Of the filtering platform: 14592 inbound, 14593 outbound.
  const direction = get('Direction')
  return direction === '%%14592' ? 'ingress' : direction === '%%14593' ? 'egress' : undefined
}

function dnsOf(get: Get): Pick<Event, 'network' | 'dns'> {
  const name = get('QueryName')
  const results = (get('QueryResults') ?? '').split(';', 64).map((part) => part.trim())
  const resolved = results.map(addressIn).filter((address) => address !== undefined)
  const status = wholeNumber(get('QueryStatus'), 0xffff_ffff)
  return {
    network: { protocol: 'dns' },
    dns: given({
      type: 'answer' as const,
      question: name === undefined ? undefined : { name },
      resolved_ip: resolved.length > 0 ? resolved : undefined,
      response_code: status === undefined ? undefined : status === 0 ? 'NOERROR' : String(status),
    }),
  }
}
