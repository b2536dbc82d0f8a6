/** What the events of a host say of processes, put together from all that name them. */
import { ok, type Result } from '@firebreak/shared/result.ts'
import { isRecord } from '../api/json-column.ts'
import { Conditions } from '../store/telemetry/conditions.ts'
import { EVENTS } from '../store/telemetry/event-table.ts'
import type { QueryLimits, QueryRefusal, TelemetryStore } from '../store/telemetry/telemetry-store.ts'

/** Peers, names and paths that are told beside their number. */
const EXAMPLES = 5

export type TreeLimits = QueryLimits & { readonly signal?: AbortSignal }

interface ProcessName {
  readonly pid?: number
  readonly name?: string
  readonly executable?: string
  readonly commandLine?: string
}

export interface ProcessFacts extends ProcessName {
  readonly entityId: string
  /** Events of its own tell of it; otherwise all that is known is what its children said. */
  readonly observed: boolean
  readonly parentEntityId?: string
  /** What its own events say of its parent. */
  readonly parent: ProcessName
  readonly user?: string
  readonly sha256?: string
  /** ms since 1970, by the clock of the host: of the first and the last event that names it. */
  readonly firstMs: number
  readonly lastMs: number
  readonly startedMs?: number
  readonly endedMs?: number
  readonly exitCode?: number
  /** How often it became another program without becoming another process. */
  readonly execs: number
  readonly peers: Counted
  readonly domains: Counted
  readonly files: Counted
}

/** How many different ones, and some of them. */
export interface Counted {
  readonly count: number
  readonly examples: readonly string[]
}

interface Row {
  readonly entity_id: string
  readonly parent_entity_id: string
  readonly pid: number
  readonly name: string
  readonly executable: string
  readonly command_line: string
  readonly user: string
  readonly sha256: string
  readonly parent_pid: number
  readonly parent_name: string
  readonly parent_executable: string
  readonly parent_command_line: string
  readonly first: number
  readonly last: number
  readonly starts: number
  readonly started: number
  readonly ends: number
  readonly ended: number
  readonly exit_code: number | null
  readonly peers: number
  readonly peers_list: readonly string[]
  readonly domains: number
  readonly domains_list: readonly string[]
  readonly files: number
  readonly files_list: readonly string[]
}

const IS_PROCESS = "has(event_category, 'process')"
const IS_START = `(${IS_PROCESS} and has(event_type, 'start'))`
const IS_END = `(${IS_PROCESS} and has(event_type, 'end'))`
const IS_FILE = "(has(event_category, 'file') and file_path != '')"
/** The other side of the connection. */
const PEER = `if(network_direction = 'ingress', tuple(source_ip, source_port), tuple(destination_ip, destination_port))`
const HAS_PEER = `(has(event_category, 'network') and tupleElement(${PEER}, 1) != '')`
const PEER_TEXT = `concat(if(position(tupleElement(${PEER}, 1), ':') > 0, concat('[', tupleElement(${PEER}, 1), ']'), tupleElement(${PEER}, 1)), ':', toString(tupleElement(${PEER}, 2)))`
const DOMAIN = `if(dns_question_name != '', dns_question_name, destination_domain)`

/** The last that was said and not empty: of a process that became another program it is the last program. */
const lastOf = (column: string) => `argMaxIf(toString(${column}), time, ${column} != '')`
const someOf = (text: string, where: string) =>
  `toFloat64(uniqExactIf(${text}, ${where})) as %s, arraySort(groupUniqArrayIf(${EXAMPLES})(${text}, ${where})) as %s_list`
const counted = (name: string, text: string, where: string) => someOf(text, where).replaceAll('%s', name)
const ms = (time: string) => `toFloat64(toUnixTimestamp64Milli(${time}))`

const FACTS = `process_entity_id as entity_id, ${lastOf('process_parent_entity_id')} as parent_entity_id,
  toFloat64(max(process_pid)) as pid, ${lastOf('process_name')} as name, ${lastOf('process_executable')} as executable,
  ${lastOf('process_command_line')} as command_line, ${lastOf("if(process_user_name != '', process_user_name, if(user_name != '', user_name, process_user_id))")} as user,
  ${lastOf('process_hash_sha256')} as sha256,
  toFloat64(max(process_parent_pid)) as parent_pid, ${lastOf('process_parent_name')} as parent_name,
  ${lastOf('process_parent_executable')} as parent_executable, ${lastOf('process_parent_command_line')} as parent_command_line,
  ${ms('min(time)')} as first, ${ms('max(time)')} as last,
  toFloat64(countIf(${IS_START})) as starts, ${ms(`minIf(time, ${IS_START})`)} as started,
  toFloat64(countIf(${IS_END})) as ends, ${ms(`maxIf(time, ${IS_END})`)} as ended,
  toFloat64OrNull(toString(anyLastIf(process_exit_code, isNotNull(process_exit_code)))) as exit_code,
  ${counted('peers', PEER_TEXT, HAS_PEER)},
  ${counted('domains', DOMAIN, `${DOMAIN} != ''`)},
  ${counted('files', 'file_path', IS_FILE)}`

/** Of those that events tell of, by entity id. */
export async function factsOf(
  store: Pick<TelemetryStore, 'select'>,
  agentId: string,
  entityIds: readonly string[],
  { signal, ...limits }: TreeLimits,
): Promise<Result<ReadonlyMap<string, ProcessFacts>, QueryRefusal>> {
  const conditions = new Conditions()
  const rows = await store.select<Row>(
    conditions.statement(`select ${FACTS} from ${EVENTS}
      where ${conditions.equals('host.id', agentId)} and ${conditions.anyOf('process.entity_id', entityIds)}
      group by process_entity_id`),
    limits,
    signal,
  )
  if (!rows.ok) return rows
  return ok(new Map(rows.value.map((row) => [row.entity_id, factsFrom(row)])))
}

/** Of which only the name is known. */
export function onlyNamed(entityId: string, name: ProcessName): ProcessFacts {
  const none = { count: 0, examples: [] }
  return {
    ...name,
    entityId,
    observed: false,
    parent: {},
    firstMs: 0,
    lastMs: 0,
    execs: 0,
    peers: none,
    domains: none,
    files: none,
  }
}

/** What an event of the process says of its parents, nearest first. */
export async function namedAncestors(
  store: Pick<TelemetryStore, 'select'>,
  agentId: string,
  entityId: string,
  { signal, ...limits }: TreeLimits,
): Promise<Result<readonly (ProcessName & { readonly entityId: string })[], QueryRefusal>> {
  const conditions = new Conditions()
  const rows = await store.select<{ ancestors: string }>(
    conditions.statement(`select JSONExtractRaw(raw, 'process', 'ancestors') as ancestors from ${EVENTS}
      where ${conditions.equals('host.id', agentId)} and ${conditions.equals('process.entity_id', entityId)} and ${IS_START}
      order by time desc limit 1`),
    limits,
    signal,
  )
  if (!rows.ok) return rows
  const told: unknown = JSON.parse(rows.value[0]?.ancestors || '[]')
  return ok(
    (Array.isArray(told) ? told : []).filter(isRecord).flatMap((one) => {
      const entity = textOf(one['entity_id'])
      return entity === undefined
        ? []
        : [{ entityId: entity, ...nameOf(one['pid'], one['name'], one['executable'], '') }]
    }),
  )
}

function factsFrom(row: Row): ProcessFacts {
  return {
    ...nameOf(row.pid, row.name, row.executable, row.command_line),
    entityId: row.entity_id,
    observed: true,
    parent: nameOf(row.parent_pid, row.parent_name, row.parent_executable, row.parent_command_line),
    ...(row.parent_entity_id !== '' && { parentEntityId: row.parent_entity_id }),
    ...(row.user !== '' && { user: row.user }),
    ...(row.sha256 !== '' && { sha256: row.sha256 }),
    firstMs: row.first,
    lastMs: row.last,
    ...(row.starts > 0 && { startedMs: row.started }),
    ...(row.ends > 0 && { endedMs: row.ended }),
    ...(row.exit_code !== null && { exitCode: row.exit_code }),
    execs: Math.max(0, row.starts - 1),
    peers: { count: row.peers, examples: row.peers_list },
    domains: { count: row.domains, examples: row.domains_list },
    files: { count: row.files, examples: row.files_list },
  }
}

function nameOf(pid: unknown, name: unknown, executable: unknown, commandLine: unknown): ProcessName {
  const [named, path, line] = [textOf(name), textOf(executable), textOf(commandLine)]
  return {
    ...(typeof pid === 'number' && pid > 0 && { pid }),
    ...(named !== undefined && { name: named }),
    ...(path !== undefined && { executable: path }),
    ...(line !== undefined && { commandLine: line }),
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
