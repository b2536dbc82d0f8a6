/** Which ECS fields can be searched by, and how ClickHouse takes them out of an event. Names that are not here are not searched. */

type ColumnType = 'String' | 'UInt32' | 'Array(String)'

export const EVENT_COLUMNS = {
  'event.kind': 'String',
  'event.category': 'Array(String)',
  'event.type': 'Array(String)',
  'event.action': 'String',
  'event.code': 'String',
  'event.dataset': 'String',
  'event.provider': 'String',
  'event.outcome': 'String',
  'event.reason': 'String',
  'host.name': 'String',
  'host.hostname': 'String',
  'process.pid': 'UInt32',
  'process.entity_id': 'String',
  'process.name': 'String',
  'process.executable': 'String',
  'process.command_line': 'String',
  'process.working_directory': 'String',
  'process.hash.sha256': 'String',
  'process.hash.sha1': 'String',
  'process.hash.md5': 'String',
  'process.pe.original_file_name': 'String',
  'process.user.id': 'String',
  'process.user.name': 'String',
  'process.parent.pid': 'UInt32',
  'process.parent.entity_id': 'String',
  'process.parent.name': 'String',
  'process.parent.executable': 'String',
  'process.parent.command_line': 'String',
  'user.id': 'String',
  'user.name': 'String',
  'user.domain': 'String',
  'user.target.name': 'String',
  'file.path': 'String',
  'file.name': 'String',
  'file.extension': 'String',
  'file.hash.sha256': 'String',
  'dll.path': 'String',
  'registry.path': 'String',
  'registry.value': 'String',
  'registry.data.strings': 'Array(String)',
  'source.ip': 'String',
  'source.port': 'UInt32',
  'destination.ip': 'String',
  'destination.port': 'UInt32',
  'destination.domain': 'String',
  'dns.question.name': 'String',
  'network.transport': 'String',
  'network.direction': 'String',
  'package.name': 'String',
  'package.version': 'String',
  'service.name': 'String',
  'winlog.channel': 'String',
  'winlog.event_id': 'String',
  'winlog.provider_name': 'String',
  'firebreak.import.file_sha256': 'String',
  message: 'String',
} as const satisfies Record<string, ColumnType>
export type EventColumn = keyof typeof EVENT_COLUMNS

/** Where a free text is looked for. */
export const TEXT_COLUMNS = [
  'process.command_line',
  'process.executable',
  'file.path',
  'destination.domain',
  'message',
] as const satisfies readonly EventColumn[]

export function isEventColumn(field: string): field is EventColumn {
  return Object.hasOwn(EVENT_COLUMNS, field)
}

export function columnTypeOf(field: EventColumn): ColumnType {
  return EVENT_COLUMNS[field]
}

/** `ecs.process.name`, each part quoted; only ever made of the names above. */
export function columnOf(field: EventColumn): string {
  return ['ecs', ...field.split('.')].map((part) => `\`${part}\``).join('.')
}

interface Branch {
  [name: string]: Branch | ColumnType
}

/** One nested named tuple of all of them: the JSON text is parsed once an event, and each leaf is a column of its own on disk. */
export function tupleType(): string {
  const tree: Branch = { '@timestamp': 'String' }
  for (const [field, type] of Object.entries(EVENT_COLUMNS)) {
    const parts = field.split('.')
    let at = tree
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Branch
    at[parts.at(-1) ?? ''] = type
  }
  return typeOf(tree)
}

function typeOf(branch: Branch): string {
  const members = Object.entries(branch).map(
    ([name, member]) => `\`${name}\` ${typeof member === 'string' ? member : typeOf(member)}`,
  )
  return `Tuple(${members.join(', ')})`
}
