/**
 * Windows records: flat ones with the event's data at the top, and the nested rendering of XML (`Event.System`,
 * `Event.EventData`, attributes under `#attributes`). Source: rules specification, "Field Usage"; Microsoft's documentation
 * of event 4688.
 */
import {
  type Accessor,
  digestOf,
  type FieldShape,
  type FieldTable,
  mappedShape,
  pathAccessor,
  type SigmaEvent,
} from './event-fields.ts'

const hashes = pathAccessor('Hashes')
const digests: FieldTable = Object.fromEntries(
  ['md5', 'sha1', 'sha256', 'imphash'].flatMap((algorithm) =>
    [algorithm, algorithm.toUpperCase(), algorithm[0]?.toUpperCase() + algorithm.slice(1)].map((name) => [
      name,
      [digestOf(hashes, algorithm)],
    ]),
  ),
)

/** Header fields under the names that log shippers give them. */
const header: FieldTable = {
  Provider_Name: [
    'SourceName',
    'ProviderName',
    textOnly(pathAccessor('Provider')),
    'Provider.Name',
    'System.Provider.Name',
  ],
  Provider: ['Provider_Name', 'SourceName'],
  Source: ['Provider_Name', 'SourceName', textOnly(pathAccessor('Provider'))],
  Computer: ['Hostname', 'ComputerName', 'computer_name'],
  ComputerName: ['Computer', 'Hostname'],
  Security_UserID: ['UserID', 'Security.UserID'],
  Execution_ProcessID: ['ExecutionProcessID', 'Execution.ProcessID'],
  Execution_ThreadID: ['ExecutionThreadID', 'Execution.ThreadID'],
  ...digests,
}

function textOnly(accessor: Accessor): Accessor {
  return (event) => {
    const value = accessor(event)
    return typeof value === 'string' ? value : undefined
  }
}

const INTEGRITY: Readonly<Record<string, string>> = {
  'S-1-16-0': 'Untrusted',
  'S-1-16-4096': 'Low',
  'S-1-16-8192': 'Medium',
  'S-1-16-8448': 'MediumPlus',
  'S-1-16-12288': 'High',
  'S-1-16-16384': 'System',
}

/** Process creation as the security log records it, under the names that Sysmon gives the same facts. */
function securityProcessTable(get: (field: string) => Accessor): FieldTable {
  const domain = get('SubjectDomainName')
  const account = get('SubjectUserName')
  const label = get('MandatoryLabel')
  return {
    Image: [get('NewProcessName')],
    ParentImage: [get('ParentProcessName')],
    ParentProcessId: [get('ProcessId')],
    LogonId: [get('SubjectLogonId')],
    User: [
      (event) => {
        const [realm, name] = [domain(event), account(event)]
        if (typeof name !== 'string') return undefined
        return typeof realm === 'string' && realm !== '' ? `${realm}\\${name}` : name
      },
    ],
    IntegrityLevel: [
      (event) => {
        const sid = label(event)
        return typeof sid === 'string' ? INTEGRITY[sid] : undefined
      },
    ],
  }
}

/** What a scanner found, under the names of the antivirus category. */
const scannerTable = (get: (field: string) => Accessor): FieldTable => ({
  Signature: [get('ThreatName'), get('Threat Name')],
  Filename: [get('Path')],
})

export const windowsFlat = mappedShape('windows', header)
export const windowsFlatProcess = mappedShape('windows-4688', { ...header, ...securityProcessTable(pathAccessor) })
export const windowsFlatScanner = mappedShape('windows-antivirus', { ...header, ...scannerTable(pathAccessor) })

/** The record inside `{"Event": {...}}`, or the event itself when it is the record. */
function recordOf(event: SigmaEvent): SigmaEvent {
  const inner = event.Event
  return isRecord(inner) ? inner : event
}

export function isRecord(value: unknown): value is SigmaEvent {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The text of an XML element: itself, or what stands beside its attributes. */
function elementText(value: unknown): unknown {
  return isRecord(value) && '#text' in value ? value['#text'] : value
}

function attributeOf(element: unknown, name: string): unknown {
  if (!isRecord(element)) return undefined
  const attributes = element['#attributes'] ?? element
  return isRecord(attributes) && Object.hasOwn(attributes, name) ? attributes[name] : undefined
}

/** Channel, id and provider of a nested record, whatever is there. */
export function nestedHeader(event: SigmaEvent): { channel: unknown; id: unknown; provider: unknown; data: unknown } {
  const record = recordOf(event)
  const system = isRecord(record.System) ? record.System : {}
  return {
    channel: elementText(system.Channel),
    id: elementText(system.EventID),
    provider: attributeOf(system.Provider, 'Name'),
    data: record.EventData,
  }
}

function nestedAccessor(field: string): Accessor {
  const [element = '', attribute] = field.split('_', 2)
  const path = pathAccessor(field)
  return (event) => {
    const record = recordOf(event)
    const data = fromData(record.EventData, field) ?? fromUserData(record.UserData, field)
    if (data !== undefined) return data
    const system = record.System
    if (isRecord(system)) {
      if (Object.hasOwn(system, field)) return elementText(system[field])
      if (attribute !== undefined) {
        const value = attributeOf(system[element], attribute)
        if (value !== undefined) return value
      }
    }
    return path(event)
  }
}

function fromData(data: unknown, field: string): unknown {
  if (!isRecord(data)) return undefined
  if (Object.hasOwn(data, field)) return elementText(data[field])
  // Data elements in a list, each with its name among the attributes.
  const list = data.Data
  if (!Array.isArray(list)) return undefined
  const named = (list as unknown[]).find(
    (item) => attributeOf(item, 'Name') === field || (isRecord(item) && item['@Name'] === field),
  )
  return named === undefined ? undefined : elementText(named)
}

/** UserData has one element of the provider's own name, and the values inside it. */
function fromUserData(data: unknown, field: string): unknown {
  if (!isRecord(data)) return undefined
  if (Object.hasOwn(data, field)) return elementText(data[field])
  for (const inner of Object.values(data)) {
    if (isRecord(inner) && Object.hasOwn(inner, field)) return elementText(inner[field])
  }
  return undefined
}

function nestedShape(name: string, table: FieldTable): FieldShape {
  return {
    name,
    accessor(field) {
      const own = nestedAccessor(field)
      const others = Object.hasOwn(table, field) ? (table[field] ?? []) : []
      return (event) => {
        const direct = own(event)
        if (direct !== undefined) return direct
        for (const other of others) {
          const value = typeof other === 'string' ? nestedAccessor(other)(event) : other(event)
          if (value !== undefined && value !== null) return value
        }
        return undefined
      }
    },
  }
}

const nestedHashes = nestedAccessor('Hashes')
const nestedDigests: FieldTable = Object.fromEntries(
  Object.keys(digests).map((name) => [name, [digestOf(nestedHashes, name.toLowerCase())]]),
)
export const windowsNested = nestedShape('windows-nested', nestedDigests)
export const windowsNestedProcess = nestedShape('windows-nested-4688', {
  ...nestedDigests,
  ...securityProcessTable(nestedAccessor),
})
export const windowsNestedScanner = nestedShape('windows-nested-antivirus', {
  ...nestedDigests,
  ...scannerTable(nestedAccessor),
})

/** Records as log shippers wrap them: the event's data in an object of its own, the header beside it. */
function wrappedShape(name: string, under: readonly string[], table: FieldTable): FieldShape {
  const accessor = (field: string): Accessor => {
    const paths = under.map((object) => pathAccessor(`${object}.${field}`))
    const mapped = mappedShape('', table).accessor(field)
    return (event) => {
      for (const path of paths) {
        const value = path(event)
        if (value !== undefined) return value
      }
      return mapped(event)
    }
  }
  return { name, accessor }
}

const DATA = ['winlog.event_data', 'winlog.user_data'] as const
const beatHashes = pathAccessor('winlog.event_data.Hashes')
const beatTable: FieldTable = {
  EventID: ['winlog.event_id', 'event.code'],
  Channel: ['winlog.channel'],
  Provider_Name: ['winlog.provider_name'],
  Provider: ['winlog.provider_name'],
  Source: ['winlog.provider_name'],
  Computer: ['winlog.computer_name', 'host.name'],
  ComputerName: ['winlog.computer_name', 'host.name'],
  Security_UserID: ['winlog.event_data.UserID', 'winlog.user.identifier'],
  Execution_ProcessID: ['winlog.event_data.ExecutionProcessID', 'winlog.process.pid'],
  Execution_ThreadID: ['winlog.event_data.ExecutionThreadID', 'winlog.process.thread.id'],
  ...Object.fromEntries(Object.keys(digests).map((name) => [name, [digestOf(beatHashes, name.toLowerCase())]])),
}
/** Before version 7 the same stood at the top. */
const OLD_DATA = ['event_data', 'user_data'] as const
const oldBeatTable: FieldTable = {
  EventID: ['event_id'],
  Channel: ['log_name'],
  Provider_Name: ['source_name'],
  Computer: ['computer_name'],
}
const processUnder = (data: string): FieldTable => securityProcessTable((field) => pathAccessor(`${data}.${field}`))

export const windowsBeat = wrappedShape('winlogbeat', DATA, beatTable)
export const windowsBeatProcess = wrappedShape('winlogbeat-4688', DATA, { ...beatTable, ...processUnder(DATA[0]) })
export const windowsBeatScanner = wrappedShape('winlogbeat-antivirus', DATA, {
  ...beatTable,
  ...scannerTable((field) => pathAccessor(`${DATA[0]}.${field}`)),
})
export const windowsOldBeat = wrappedShape('winlogbeat-6', OLD_DATA, oldBeatTable)
export const windowsOldBeatProcess = wrappedShape('winlogbeat-6-4688', OLD_DATA, {
  ...oldBeatTable,
  ...processUnder(OLD_DATA[0]),
})
