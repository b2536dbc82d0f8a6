/**
 * Which ECS fields have a column of their own, and how it is kept: one declaration for the table, the extraction from the event's text
 * and the search. A field of the schema without a column can still be searched; it is then read out of the text, event by event.
 *
 * Addresses are text, not IPv6: `::` is an address that hosts listen on and would be the same as none, and what a host wrote (a zone,
 * a name in place of an address) must be found again as it was written. Lower case, so that equal ones are equal.
 */

/** What a value is compared as. */
export type FieldKind = 'keyword' | 'number' | 'list'

interface EventColumn {
  readonly type: 'LowCardinality(String)' | 'String' | 'UInt32' | 'UInt64' | 'Nullable(Int64)' | 'Array(String)'
  readonly kind: FieldKind
  /** Looked up by its whole value: hashes, entity ids, addresses, domains. In the index `lookups`. */
  readonly lookup?: true
  /** Kept in lower case. */
  readonly lower?: true
  /** Its words are looked for anywhere: command lines, paths, domains, messages. In the index `words`. */
  readonly words?: true
  readonly codec?: string
}

/** Few distinct values a block: names, paths of programs. A scan compares each distinct value once. */
const name = { type: 'LowCardinality(String)', kind: 'keyword' } as const
const value = { type: 'String', kind: 'keyword' } as const
const entity = { type: 'String', kind: 'keyword', lookup: true } as const
const lookup = { type: 'String', kind: 'keyword', lookup: true, lower: true } as const
const text = { type: 'String', kind: 'keyword', words: true } as const
const list = { type: 'Array(String)', kind: 'list' } as const
const pid = { type: 'UInt32', kind: 'number' } as const
const port = { type: 'UInt32', kind: 'number' } as const
const count = { type: 'UInt64', kind: 'number', codec: 'T64, ZSTD(1)' } as const

export const EVENT_COLUMNS = {
  'event.kind': name,
  'event.category': list,
  'event.type': list,
  'event.action': name,
  'event.dataset': name,
  'event.provider': name,
  'event.outcome': name,
  'event.code': name,
  'event.reason': text,
  'host.name': name,
  'host.hostname': name,
  'host.os.type': name,
  'process.pid': pid,
  'process.entity_id': entity,
  'process.name': name,
  'process.executable': { ...name, words: true },
  'process.command_line': text,
  'process.working_directory': name,
  'process.hash.sha256': lookup,
  'process.hash.sha1': lookup,
  'process.hash.md5': lookup,
  'process.exit_code': { type: 'Nullable(Int64)', kind: 'number' },
  'process.tty': name,
  'process.user.id': name,
  'process.user.name': name,
  'process.parent.pid': pid,
  'process.parent.entity_id': entity,
  'process.parent.name': name,
  'process.parent.executable': name,
  'process.parent.command_line': name,
  'user.id': name,
  'user.name': name,
  'user.domain': name,
  'user.effective.name': name,
  'user.audit.name': name,
  'user.target.name': name,
  'file.path': text,
  'file.name': value,
  'file.extension': name,
  'file.size': count,
  'file.mode': name,
  'file.hash.sha256': lookup,
  'file.previous.path': text,
  'source.ip': lookup,
  'source.port': port,
  'source.domain': { ...lookup, words: true },
  'source.bytes': count,
  'destination.ip': lookup,
  'destination.port': port,
  'destination.domain': { ...lookup, words: true },
  'destination.bytes': count,
  'network.transport': name,
  'network.direction': name,
  'network.protocol': name,
  'dns.question.name': { ...lookup, words: true },
  'dns.question.type': name,
  'dns.resolved_ip': { ...list, lookup: true },
  'dns.response_code': name,
  'dll.path': { ...name, words: true },
  'dll.hash.sha256': lookup,
  'registry.path': text,
  'winlog.channel': name,
  'winlog.event_id': name,
  'container.id': name,
  'package.name': name,
  'package.version': name,
  'service.name': name,
  'group.name': name,
  'firebreak.target.entity_id': entity,
  'firebreak.target.name': name,
  'firebreak.executable.package.status': name,
  message: text,
} as const satisfies Record<string, EventColumn>
export type EventColumnName = keyof typeof EVENT_COLUMNS

const columns: Readonly<Record<string, EventColumn>> = EVENT_COLUMNS

/** Where a free text is looked for. */
export const WORD_FIELDS = Object.keys(columns).filter((field) => columns[field]?.words)
export const LOOKUP_FIELDS = Object.keys(columns).filter((field) => columns[field]?.lookup)

export function isEventColumn(field: string): field is EventColumnName {
  return Object.hasOwn(EVENT_COLUMNS, field)
}

export function eventColumn(field: EventColumnName): EventColumn {
  return EVENT_COLUMNS[field]
}

/** `process_name`; only ever made of the names above. Without dots: ClickHouse takes lists under one prefix for one nested table. */
export function columnOf(field: EventColumnName): string {
  return field.replaceAll('.', '_')
}

interface Branch {
  [name: string]: Branch | string
}

/** One nested named tuple of all of them, so that the text is parsed once an event and not once a column. */
export function tupleType(): string {
  const tree: Branch = { '@timestamp': 'String' }
  for (const [field, { type }] of Object.entries(columns)) {
    const parts = field.split('.')
    let at = tree
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Branch
    at[parts.at(-1) ?? ''] = type === 'LowCardinality(String)' ? 'String' : type
  }
  return typeOf(tree)
}

function typeOf(branch: Branch): string {
  const members = Object.entries(branch).map(
    ([name, member]) => `\`${name}\` ${typeof member === 'string' ? member : typeOf(member)}`,
  )
  return `Tuple(${members.join(', ')})`
}
