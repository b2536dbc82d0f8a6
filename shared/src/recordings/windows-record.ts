/**
 * One record of a Windows event log, whatever form it was shipped in: flat with the data at the top (NXLog, the public recordings),
 * the rendering of XML (`Event.System`, `Event.EventData`), Winlogbeat 7 (`winlog.*`) and 6 (`event_data` at the top).
 */
import { dataElements } from './event-data-text.ts'
import { type RawRecord, flattened, isRecord, type Scalar, textIn } from './record-values.ts'

export type Data = ReadonlyMap<string, Scalar | Scalar[]>

export interface WindowsRecord {
  readonly channel: string | undefined
  readonly eventId: string | undefined
  readonly provider: string | undefined
  readonly computer: string | undefined
  readonly recordId: string | undefined
  readonly providerGuid: string | undefined
  /** Under the names of the provider. */
  readonly data: Data
  readonly userData: Data | undefined
  /** Read out of a text in the data; rules see the data as it was shipped. */
  readonly unpacked?: Data
  /** Where its times are. */
  readonly times: RawRecord
  readonly cut: boolean
}

export function isWindowsRecord(record: RawRecord): boolean {
  return (
    record['EventID'] !== undefined ||
    typeof record['Channel'] === 'string' ||
    isRecord(record['winlog']) ||
    (typeof record['log_name'] === 'string' && record['event_id'] !== undefined) ||
    isRecord(systemOf(record))
  )
}

export function windowsRecordOf(record: RawRecord): WindowsRecord {
  if (isRecord(systemOf(record))) return fromViewer(record)
  if (isRecord(record['winlog'])) return fromBeat(record, record['winlog'])
  if (typeof record['log_name'] === 'string' && record['event_id'] !== undefined) return fromOldBeat(record)
  return fromFlat(record)
}

function systemOf(record: RawRecord): unknown {
  const inner = isRecord(record['Event']) ? record['Event'] : record
  return inner['System']
}

/** In the header and nowhere else; all other fields are the record's data. */
const FLAT_HEADER: ReadonlySet<string> = new Set(['EventID', 'Channel'])

function fromFlat(record: RawRecord): WindowsRecord {
  const { fields, cut } = flattened(record)
  const data = new Map([...fields].filter(([name]) => !FLAT_HEADER.has(name)))
  const provider = record['Provider_Name'] ?? record['SourceName'] ?? record['Provider'] ?? record['ProviderName']
  return {
    channel: textIn(record['Channel']),
    eventId: textIn(record['EventID']),
    provider:
      textIn(isRecord(provider) ? provider['Name'] : provider) ??
      textIn(record['EventSourceName']) ??
      textIn(record['Source']),
    computer: textIn(record['Hostname']) ?? textIn(record['Computer']) ?? textIn(record['ComputerName']),
    recordId: textIn(record['RecordNumber']) ?? textIn(record['EventRecordID']),
    providerGuid: textIn(record['ProviderGuid']),
    data,
    userData: undefined,
    unpacked: new Map(dataElements(record['EventData'])),
    times: record,
    cut,
  }
}

function fromBeat(record: RawRecord, winlog: RawRecord): WindowsRecord {
  const data = flattened(isRecord(winlog['event_data']) ? winlog['event_data'] : {})
  const userData = isRecord(winlog['user_data']) ? flattened(winlog['user_data']) : undefined
  const host = isRecord(record['host']) ? record['host'] : {}
  return {
    channel: textIn(winlog['channel']),
    eventId: textIn(winlog['event_id']) ?? textIn(isRecord(record['event']) ? record['event']['code'] : undefined),
    provider: textIn(winlog['provider_name']),
    computer: textIn(winlog['computer_name']) ?? textIn(host['name']),
    recordId: textIn(winlog['record_id']),
    providerGuid: textIn(winlog['provider_guid']),
    data: withMessage(data.fields, record),
    userData: userData?.fields,
    times: { ...record, UtcTime: data.fields.get('UtcTime') },
    cut: data.cut || userData?.cut === true,
  }
}

const OLD_HEADER: ReadonlySet<string> = new Set(['event_data', 'user_data', 'log_name', 'event_id', 'source_name'])

/** What stood beside the data keeps its name in it: rules written for that form find it there. */
function fromOldBeat(record: RawRecord): WindowsRecord {
  const data = flattened(isRecord(record['event_data']) ? record['event_data'] : {})
  const userData = isRecord(record['user_data']) ? flattened(record['user_data']) : undefined
  const rest = flattened(Object.fromEntries(Object.entries(record).filter(([name]) => !OLD_HEADER.has(name))))
  return {
    channel: textIn(record['log_name']),
    eventId: textIn(record['event_id']),
    provider: textIn(record['source_name']),
    computer: textIn(record['computer_name']),
    recordId: textIn(record['record_number']),
    providerGuid: textIn(record['provider_guid']),
    data: new Map([...rest.fields, ...data.fields]),
    userData: userData?.fields,
    times: { ...record, UtcTime: data.fields.get('UtcTime') },
    cut: data.cut || rest.cut || userData?.cut === true,
  }
}

function withMessage(data: Data, record: RawRecord): Data {
  const message = record['message']
  return typeof message === 'string' && !data.has('message') ? new Map([...data, ['message', message]]) : data
}

function fromViewer(record: RawRecord): WindowsRecord {
  const inner = isRecord(record['Event']) ? record['Event'] : record
  const system = isRecord(inner['System']) ? inner['System'] : {}
  const data = new Map<string, Scalar | Scalar[]>()
  for (const part of [inner['EventData'], inner['UserData']])
    for (const [name, value] of elements(part)) data.set(name, value)
  const header = flattened(
    Object.fromEntries(Object.entries(system).filter(([name]) => name !== 'EventID' && name !== 'Channel')),
  )
  const named = new Map(
    [...header.fields].map(([name, value]) => [name.replaceAll(/[.#]+(?:attributes\.)?/g, '_'), value]),
  )
  return {
    channel: textIn(elementText(system['Channel'])),
    eventId: textIn(elementText(system['EventID'])),
    provider: textIn(attributeOf(system['Provider'], 'Name')),
    computer: textIn(elementText(system['Computer'])),
    recordId: textIn(elementText(system['EventRecordID'])),
    providerGuid: textIn(attributeOf(system['Provider'], 'Guid')),
    data: new Map([...named, ...data]),
    userData: undefined,
    times: { UtcTime: data.get('UtcTime'), SystemTime: attributeOf(system['TimeCreated'], 'SystemTime') },
    cut: header.cut,
  }
}

/** `Data` in a list with names among the attributes, or an object of names; user data has one element of its own around it. */
function* elements(part: unknown): Generator<readonly [string, Scalar | Scalar[]]> {
  if (!isRecord(part)) return
  const list = part['Data']
  if (Array.isArray(list)) {
    for (const item of list) {
      const name = attributeOf(item, 'Name') ?? attributeOf(item, '@Name')
      const value = elementText(item)
      if (typeof name === 'string' && (typeof value === 'string' || typeof value === 'number')) yield [name, value]
    }
  }
  for (const [name, value] of Object.entries(part)) {
    if (name === 'Data' && Array.isArray(value)) continue
    const inner = elementText(value)
    if (isRecord(inner)) yield* flattened(inner).fields
    else yield* flattened({ [name]: inner }).fields
  }
}

function elementText(value: unknown): unknown {
  return isRecord(value) && '#text' in value ? value['#text'] : value
}

function attributeOf(element: unknown, name: string): unknown {
  if (!isRecord(element)) return undefined
  const attributes = isRecord(element['#attributes']) ? element['#attributes'] : element
  return Object.hasOwn(attributes, name) ? attributes[name] : undefined
}
