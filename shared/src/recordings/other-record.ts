/**
 * Any other record: the whole of it stays with the event under its own names, and rules are matched against that. Of the sources
 * that are common in recordings (Zeek, CloudTrail, connections of Azure) it is also said in ECS who talked to whom.
 */
import type { Event } from '../events/event.ts'
import { addressIn, anyGiven, bounded, given, isRecord, portIn, type RawRecord, textIn } from './record-values.ts'

const HOST_FIELDS = [
  'Hostname',
  'hostname',
  'Computer',
  'HostName',
  'computer_name',
  'host',
  '@system',
  'node',
] as const

/** The host that a record names, whoever wrote it. */
function hostOfRecord(record: RawRecord): string | undefined {
  for (const field of HOST_FIELDS) {
    const value = record[field]
    const name = isRecord(value) ? (value['name'] ?? value['hostname']) : value
    if (typeof name === 'string' && name !== '') return name
  }
  return undefined
}

export function ecsOfOther(record: RawRecord, at: string): Event {
  const words = zeek(record) ?? cloudTrail(record) ?? connection(record) ?? generic(record)
  const name = hostOfRecord(record)
  return {
    '@timestamp': at,
    ...words,
    ...(name === undefined ? {} : { host: { name } }),
    firebreak: { record: bounded(record) as Record<string, unknown> },
  }
}

type Words = Omit<Event, '@timestamp' | 'host' | 'firebreak'>

const TRANSPORTS = ['tcp', 'udp', 'icmp'] as const

/** Zeek: `@stream` is the log, `id_orig_h` and its like the two sides; with dots in the names in other exports. */
function zeek(record: RawRecord): Words | undefined {
  const stream = textIn(record['@stream']) ?? (record['id.orig_h'] === undefined ? undefined : 'conn')
  if (stream === undefined) return undefined
  const side = (name: 'orig' | 'resp') =>
    anyGiven({
      ip: addressIn(record[`id_${name}_h`] ?? record[`id.${name}_h`]),
      port: portIn(record[`id_${name}_p`] ?? record[`id.${name}_p`]),
      bytes: bytesIn(record[`${name}_bytes`]),
    })
  const source = side('orig')
  const destination = side('resp')
  const query = stream === 'dns' ? textIn(record['query']) : undefined
  const proto = record['proto']
  const transport = TRANSPORTS.find((transport) => transport === proto)
  return {
    event: {
      category: ['network'],
      type: stream === 'conn' ? ['connection', 'end'] : ['protocol', 'info'],
      action: `zeek-${stream}`,
      provider: 'zeek',
    },
    ...given({
      source,
      destination,
      network: anyGiven({ transport, protocol: textIn(record['service']) ?? (stream === 'conn' ? undefined : stream) }),
      dns:
        query === undefined
          ? undefined
          : { question: given({ name: query, type: textIn(record['qtype_name']) }), type: 'answer' as const },
    }),
  }
}

function cloudTrail(record: RawRecord): Words | undefined {
  if (typeof record['eventName'] !== 'string' || typeof record['eventSource'] !== 'string') return undefined
  const who = isRecord(record['userIdentity']) ? record['userIdentity'] : {}
  const failed = textIn(record['errorCode']) !== undefined
  const ip = addressIn(record['sourceIPAddress'])
  const user = anyGiven({ id: textIn(who['principalId']), name: textIn(who['userName']) })
  return {
    event: {
      category: ['api'],
      type: ['info'],
      action: record['eventName'],
      provider: record['eventSource'],
      outcome: failed ? 'failure' : 'success',
    },
    ...given({ user, source: ip === undefined ? undefined : { ip } }),
  }
}

/** VMConnection of Azure. */
function connection(record: RawRecord): Words | undefined {
  const [from, to] = [addressIn(record['SourceIp']), addressIn(record['DestinationIp'])]
  if (from === undefined || to === undefined) return undefined
  const direction = record['Direction']
  const protocol = record['Protocol']
  const name = textIn(record['ProcessName'])
  return {
    event: {
      category: ['network'],
      type: ['connection', 'info'],
      action: 'connection-detected',
      ...given({ provider: textIn(record['Type']) }),
    },
    source: { ip: from },
    destination: { ip: to, ...given({ port: portIn(record['DestinationPort']) }) },
    network: given({
      transport: TRANSPORTS.find((transport) => transport === protocol),
      direction:
        direction === 'inbound' ? ('ingress' as const) : direction === 'outbound' ? ('egress' as const) : undefined,
    }),
    ...(name === undefined ? {} : { process: { name } }),
  }
}

function generic(record: RawRecord): Words {
  const action =
    textIn(record['action']) ?? textIn(record['event_type']) ?? textIn(record['type']) ?? textIn(record['Type'])
  const message = textIn(record['SyslogMessage']) ?? textIn(record['message']) ?? textIn(record['Message'])
  return {
    event: { category: ['host'], type: ['info'], action: action ?? 'imported' },
    ...given({ message: message?.slice(0, 1_024) }),
  }
}

function bytesIn(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
