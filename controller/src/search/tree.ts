/**
 * What came before a process and what came of it: its ancestors up to the first that events know, and all its descendants, each with
 * what it did. Processes are told apart by their entity ids, so a pid that was used again makes no false kinship.
 */
import { ok, type Result, refuse } from '@firebreak/shared/result.ts'
import { Conditions } from '../store/telemetry/conditions.ts'
import { EVENTS } from '../store/telemetry/event-table.ts'
import type { QueryRefusal, TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { factsOf, namedAncestors, onlyNamed, type ProcessFacts, type TreeLimits } from './process-facts.ts'

export const TREE_LIMITS = { ancestors: 32, generations: 32, processes: 500 } as const

const MAX_CANDIDATES = 10

export interface TreeRequest {
  readonly agentId: string
  /** One of both. */
  readonly pid?: number
  readonly entityId?: string
  /** Which use of the pid is meant: the last one that had begun by then. */
  readonly atMs?: number
}

export type TreeRefusal = 'no_process'
/** The pid was used again: one line for each process that had it, the newest first. */
export interface AmbiguousPid {
  readonly ok: false
  readonly code: 'several_processes'
  readonly why: string
  readonly candidates: readonly string[]
}

export interface TreeProcess extends Omit<ProcessFacts, 'parentEntityId' | 'parent'> {
  readonly relation: 'ancestor' | 'self' | 'descendant'
  /** Another process of the tree; undefined at the top. */
  readonly parentEntityId: string | undefined
}

export interface ProcessTree {
  readonly entityId: string
  /** Parents before their children, the oldest first among brothers. */
  readonly processes: readonly TreeProcess[]
  /** There are more descendants than are told. */
  readonly cut: boolean
}

type Store = Pick<TelemetryStore, 'select'>

export async function readTree(
  store: Store,
  request: TreeRequest,
  limits: TreeLimits,
): Promise<Result<ProcessTree, QueryRefusal | TreeRefusal> | AmbiguousPid> {
  const found = request.entityId === undefined ? await processOf(store, request, limits) : ok(request.entityId)
  if (!found.ok) return found
  const self = found.value
  const below = await descendantsOf(store, request.agentId, self, limits)
  if (!below.ok) return below
  const own = await factsOf(store, request.agentId, [self, ...below.value.entityIds], limits)
  if (!own.ok) return own
  const facts = own.value
  // A process that began before anybody looked is known by its children.
  const child = below.value.entityIds.map((id) => facts.get(id)).find((one) => one?.parentEntityId === self)
  const root = facts.get(self) ?? (child && onlyNamed(self, child.parent))
  if (!root) return refuse('no_process', `no event of this host tells of the process ${self}`)
  const above = await ancestorsOf(store, request.agentId, root, below.value.entityIds, limits)
  if (!above.ok) return above
  const chain = above.value.toReversed()
  return ok({
    entityId: self,
    cut: below.value.cut,
    processes: [
      ...chain.map((one, at) => treeProcess(one, 'ancestor', chain[at - 1]?.entityId)),
      treeProcess(root, 'self', chain.at(-1)?.entityId),
      ...inOrder(below.value.entityIds.map((id) => facts.get(id)).filter((one) => one !== undefined)).map((one) =>
        treeProcess(one, 'descendant', one.parentEntityId),
      ),
    ],
  })
}

function treeProcess(
  facts: ProcessFacts,
  relation: TreeProcess['relation'],
  parentEntityId: string | undefined,
): TreeProcess {
  const { parent: _, ...own } = facts
  return { ...own, relation, parentEntityId }
}

function without(known: ReadonlySet<string>, self: string): string[] {
  return [...known].filter((entityId) => entityId !== self)
}

function inOrder(processes: readonly ProcessFacts[]): ProcessFacts[] {
  return processes.toSorted((one, other) => one.firstMs - other.firstMs || (one.pid ?? 0) - (other.pid ?? 0))
}

interface Candidate {
  readonly entity_id: string
  readonly first: number
  readonly last: number
  readonly command_line: string
}

/** A pid is used again: without a time only the one process that ever had it is meant. */
async function processOf(
  store: Store,
  { agentId, pid = -1, atMs }: TreeRequest,
  { signal, ...limits }: TreeLimits,
): Promise<Result<string, QueryRefusal | TreeRefusal> | AmbiguousPid> {
  const conditions = new Conditions()
  const time = atMs === undefined ? '' : `having first <= ${Math.floor(atMs)}`
  const rows = await store.select<Candidate>(
    conditions.statement(`select process_entity_id as entity_id, toFloat64(toUnixTimestamp64Milli(min(time))) as first,
        toFloat64(toUnixTimestamp64Milli(max(time))) as last,
        max(process_command_line) = '' ? max(process_name) : argMaxIf(process_command_line, time, process_command_line != '') as command_line
      from ${EVENTS} where ${conditions.equals('host.id', agentId)} and ${conditions.equals('process.pid', String(pid))}
        and process_entity_id != ''
      group by process_entity_id ${time} order by first desc limit ${MAX_CANDIDATES + 1}`),
    limits,
    signal,
  )
  if (!rows.ok) return rows
  const [newest, ...older] = rows.value
  if (!newest)
    return refuse(
      'no_process',
      `no event of this host tells of a process with the pid ${pid}${atMs === undefined ? '' : ` at ${new Date(atMs).toISOString()} or before`}`,
    )
  if (older.length === 0 || atMs !== undefined) return ok(newest.entity_id)
  return {
    ok: false,
    code: 'several_processes',
    why: `the pid ${pid} was used by ${rows.value.length > MAX_CANDIDATES ? `more than ${MAX_CANDIDATES}` : rows.value.length} processes; say which by a time or by its entity id`,
    candidates: rows.value
      .slice(0, MAX_CANDIDATES)
      .map(
        ({ entity_id: entityId, first, last, command_line: commandLine }) =>
          `${new Date(first).toISOString()} to ${new Date(last).toISOString()}  ${entityId}  ${commandLine.slice(0, 120)}`,
      ),
  }
}

async function descendantsOf(
  store: Store,
  agentId: string,
  self: string,
  { signal, ...limits }: TreeLimits,
): Promise<Result<{ readonly entityIds: readonly string[]; readonly cut: boolean }, QueryRefusal>> {
  const known = new Set([self])
  let level: readonly string[] = [self]
  for (let generation = 0; level.length > 0; generation++) {
    if (generation === TREE_LIMITS.generations) return ok({ entityIds: without(known, self), cut: true })
    const conditions = new Conditions()
    const rows = await store.select<{ entity_id: string }>(
      conditions.statement(`select process_entity_id as entity_id from ${EVENTS}
        where ${conditions.equals('host.id', agentId)} and ${conditions.anyOf('process.parent.entity_id', level)}
          and process_entity_id != ''
        group by process_entity_id order by min(time) limit ${TREE_LIMITS.processes + 1}`),
      limits,
      signal,
    )
    if (!rows.ok) return rows
    // A host can claim that a process is its own grandparent; each is taken once.
    const next = rows.value.map(({ entity_id: entityId }) => entityId).filter((entityId) => !known.has(entityId))
    for (const entityId of next) {
      if (known.size > TREE_LIMITS.processes) return ok({ entityIds: without(known, self), cut: true })
      known.add(entityId)
    }
    level = next
  }
  return ok({ entityIds: without(known, self), cut: false })
}

/** Nearest first. Where no event tells of a parent, what its child says of it has to do. */
async function ancestorsOf(
  store: Store,
  agentId: string,
  from: ProcessFacts,
  descendants: readonly string[],
  limits: TreeLimits,
): Promise<Result<readonly ProcessFacts[], QueryRefusal>> {
  if (from.parentEntityId === undefined) return ok([])
  // One event names many of them, so that they can be asked for at once.
  const named = await namedAncestors(store, agentId, from.entityId, limits)
  if (!named.ok) return named
  const names = new Map(named.value.map((one, at) => [one.entityId, { ...one, above: named.value[at + 1]?.entityId }]))
  const known = new Map<string, ProcessFacts>()
  const chain: ProcessFacts[] = []
  // Nobody is its own ancestor, whatever a host claims.
  const taken = new Set([from.entityId, ...descendants])
  let below = from
  let next: string | undefined = from.parentEntityId
  while (next !== undefined && !taken.has(next) && chain.length < TREE_LIMITS.ancestors) {
    taken.add(next)
    if (!known.has(next) && (chain.length === 0 || !names.has(next))) {
      const asked = await factsOf(store, agentId, [next, ...(chain.length === 0 ? names.keys() : [])], limits)
      if (!asked.ok) return asked
      for (const facts of asked.value.values()) known.set(facts.entityId, facts)
    }
    const name = names.get(next)
    const parent: ProcessFacts = known.get(next) ?? onlyNamed(next, name ?? below.parent)
    chain.push(parent)
    below = parent
    next = parent.parentEntityId ?? (chain.length === 1 ? named.value[0]?.entityId : name?.above)
  }
  return ok(chain)
}
