/**
 * ECS 9 events under the names of the Sigma taxonomy (which are Sysmon's). Source: Elastic Common Schema reference; Sigma
 * taxonomy appendix 2.1.0, "Process Creation Events".
 */
import {
  type Accessor,
  type FieldShape,
  type FieldTable,
  mappedShape,
  pathAccessor,
  type SigmaEvent,
} from './event-fields.ts'
import { isRecord } from './windows-fields.ts'

const ALGORITHMS = ['md5', 'sha1', 'sha256', 'imphash'] as const

/** `SHA256=...,MD5=...` from an ECS hash object. */
function joinedHashes(...paths: readonly string[]): Accessor {
  const accessors = paths.map(pathAccessor)
  return (event) => {
    for (const accessor of accessors) {
      const hash = accessor(event)
      if (!isRecord(hash)) continue
      const parts = ALGORITHMS.flatMap((name) =>
        typeof hash[name] === 'string' ? [`${name.toUpperCase()}=${hash[name].toUpperCase()}`] : [],
      )
      if (parts.length > 0) return parts.join(',')
    }
    return undefined
  }
}

function joined(list: Accessor): Accessor {
  return (event) => {
    const values = list(event)
    return Array.isArray(values) ? values.join(' ') : undefined
  }
}

function account(prefix: string): Accessor {
  const name = pathAccessor(`${prefix}.name`)
  const domain = pathAccessor(`${prefix}.domain`)
  return (event) => {
    const [who, realm] = [name(event), domain(event)]
    if (typeof who !== 'string') return undefined
    return typeof realm === 'string' && realm !== '' ? `${realm}\\${who}` : who
  }
}

const direction = pathAccessor('network.direction')
/** Sysmon's question: did this host open the connection? */
function initiated(event: SigmaEvent): unknown {
  switch (direction(event)) {
    case 'egress':
    case 'outbound':
    case 'external':
      return 'true'
    case 'ingress':
    case 'inbound':
      return 'false'
    default:
      return undefined
  }
}

const ipType = pathAccessor('network.type')
function isIpv6(event: SigmaEvent): unknown {
  const type = ipType(event)
  return type === undefined ? undefined : String(type === 'ipv6')
}

const table: FieldTable = {
  Image: ['process.executable', 'process.name'],
  OriginalFileName: ['process.pe.original_file_name'],
  Description: ['process.pe.description'],
  Product: ['process.pe.product'],
  Company: ['process.pe.company'],
  FileVersion: ['process.pe.file_version'],
  CommandLine: ['process.command_line', joined(pathAccessor('process.args'))],
  CurrentDirectory: ['process.working_directory'],
  ProcessId: ['process.pid'],
  ProcessGuid: ['process.entity_id'],
  ProcessName: ['process.name'],
  ParentImage: ['process.parent.executable', 'process.parent.name'],
  ParentCommandLine: ['process.parent.command_line', joined(pathAccessor('process.parent.args'))],
  ParentProcessId: ['process.parent.pid'],
  ParentProcessGuid: ['process.parent.entity_id'],
  ParentUser: [account('process.parent.user')],
  GrandParentImage: [
    'process.parent.parent.executable',
    (event) => firstOf(pathAccessor('process.ancestors.executable')(event)),
  ],
  User: [account('user'), account('process.user')],
  LogonId: ['winlog.logon.id', 'process.session_leader.entity_id'],
  IntegrityLevel: ['winlog.event_data.IntegrityLevel', 'process.Ext.token.integrity_level_name'],
  Hashes: [joinedHashes('process.hash', 'file.hash', 'dll.hash')],
  md5: ['process.hash.md5', 'file.hash.md5', 'dll.hash.md5'],
  sha1: ['process.hash.sha1', 'file.hash.sha1', 'dll.hash.sha1'],
  sha256: ['process.hash.sha256', 'file.hash.sha256', 'dll.hash.sha256'],
  imphash: ['process.pe.imphash', 'file.pe.imphash', 'dll.pe.imphash'],
  TargetFilename: ['file.path'],
  SourceFilename: ['file.previous.path', 'file.Ext.original.path'],
  FileName: ['file.path'],
  ImageLoaded: ['dll.path', 'file.path'],
  PipeName: ['file.name'],
  TargetObject: ['registry.path'],
  Details: ['registry.data.strings'],
  QueryName: ['dns.question.name'],
  QueryResults: ['dns.answers.data', 'dns.resolved_ip'],
  record_type: ['dns.question.type'],
  SourceIp: ['source.ip'],
  SourcePort: ['source.port'],
  SourceHostname: ['source.domain'],
  DestinationIp: ['destination.ip'],
  DestinationPort: ['destination.port'],
  DestinationHostname: ['destination.domain'],
  DestinationIsIpv6: [isIpv6],
  SourceIsIpv6: [isIpv6],
  Initiated: [initiated],
  Protocol: ['network.transport'],
  src_ip: ['source.ip'],
  src_port: ['source.port'],
  dst_ip: ['destination.ip'],
  dst_port: ['destination.port'],
  username: ['user.name'],
  Computer: ['host.name', 'host.hostname'],
  EventID: ['winlog.event_id', 'event.code'],
  Channel: ['winlog.channel'],
  Provider_Name: ['winlog.provider_name', 'event.provider'],
  'c-uri': ['url.original', 'url.full'],
  'c-uri-query': ['url.query'],
  'c-useragent': ['user_agent.original'],
  'cs-method': ['http.request.method'],
  'cs-host': ['url.domain'],
  'sc-status': ['http.response.status_code'],
}

function firstOf(value: unknown): unknown {
  return Array.isArray(value) ? (value[0] as unknown) : value
}

export const ecsShape = mappedShape('ecs', table)

const auditTypes = pathAccessor('auditd.message_type')
/** Fields that ECS has no name for stand in the record that the event was made from. */
export const ecsWithRecordShape: FieldShape = {
  name: 'ecs-record',
  accessor(field) {
    const own = ecsShape.accessor(field)
    const others = [
      pathAccessor(`auditd.data.${field}`),
      pathAccessor(`firebreak.record.${field}`),
      ...(field === 'type' ? [auditTypes] : []),
    ]
    return (event) => {
      const direct = own(event)
      if (direct !== undefined) return direct
      for (const other of others) {
        const value = other(event)
        if (value !== undefined) return value
      }
      return undefined
    }
  },
}
