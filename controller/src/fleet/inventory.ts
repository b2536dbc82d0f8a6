/**
 * What each host is made of, as its agent told last: kept in the transaction that keeps the events, so that a batch counts once. A whole
 * telling (`present` ..., `complete`) replaces what was known of the kind; differences in between change single items.
 */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type InventoryKind, isInventoryKind } from '@firebreak/shared/events/inventory.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import { type Kysely, sql } from 'kysely'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'

/** Items kept of one host, of all kinds together; more are told in `why` of the kind. */
const MAX_ITEMS = 50_000
/** Facts of one item as JSON; longer ones are left out, the name stays. */
const MAX_FACTS_BYTES = 8 * KiB
const ROWS_AT_ONCE = 200

type Inventory = NonNullable<NonNullable<Event['firebreak']>['inventory']>
interface Told {
  readonly at: string
  readonly label: string
  readonly reason: string | undefined
  readonly part: Inventory
}

/** `text`: events of the inventory class, one JSON a line, in the order of their numbers. `most`: items kept of one host. */
export async function takeInventory(tx: Tx, agentId: AgentId, text: Uint8Array, most = MAX_ITEMS): Promise<void> {
  /** The last word on each item: two of one key in one statement are an error. */
  const pending = new Map<InventoryKind, Map<string, Told>>()
  for (const told of partsOf(text)) {
    const { kind, key, change } = told.part
    const items = pending.get(kind) ?? new Map<string, Told>()
    pending.set(kind, items)
    if (change !== 'complete') {
      if (key !== undefined) items.set(key, told)
      continue
    }
    await keep(tx, agentId, kind, items, most)
    items.clear()
    await complete(tx, agentId, told, most)
  }
  for (const [kind, items] of pending) await keep(tx, agentId, kind, items, most)
}

export interface InventoryKindView {
  readonly kind: InventoryKind
  readonly items: number
  /** When all of it was told last, by the clock of the host; null: not yet. */
  readonly told_at: string | null
  readonly is_whole: boolean
  readonly why: string | null
}

/** The kinds of which something is known. */
export async function inventoryKinds(db: Kysely<Tables>, agentId: string): Promise<InventoryKindView[]> {
  const counts = await db
    .selectFrom('inventory_items')
    .select(['kind', (row) => row.fn.countAll<number>().as('items')])
    .where('agent_id', '=', agentId)
    .groupBy('kind')
    .execute()
  const tellings = await db.selectFrom('inventory_kinds').selectAll().where('agent_id', '=', agentId).execute()
  const kinds = new Set([...counts, ...tellings].map(({ kind }) => kind).filter(isInventoryKind))
  return [...kinds].toSorted().map((kind) => {
    const telling = tellings.find((one) => one.kind === kind)
    return {
      kind,
      items: counts.find((one) => one.kind === kind)?.items ?? 0,
      told_at: telling?.told_at ?? null,
      is_whole: telling?.is_whole === 1,
      why: telling?.why ?? null,
    }
  })
}

function* partsOf(text: Uint8Array): Generator<Told> {
  for (const line of Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('utf8').split('\n')) {
    if (!line.includes('"inventory":{')) continue
    // It was held against the schema before it was kept.
    const event = JSON.parse(line) as Event
    const part = event.firebreak?.inventory
    if (part)
      yield { at: event['@timestamp'], label: (event.message ?? '').slice(0, 512), reason: event.event.reason, part }
  }
}

async function keep(
  tx: Tx,
  agentId: AgentId,
  kind: InventoryKind,
  items: ReadonlyMap<string, Told>,
  most: number,
): Promise<void> {
  const gone = [...items].filter(([, { part }]) => part.change === 'removed').map(([key]) => key)
  for (const keys of pieces(gone))
    await tx
      .deleteFrom('inventory_items')
      .where('agent_id', '=', agentId)
      .where('kind', '=', kind)
      .where('key', 'in', keys)
      .execute()
  const there = [...items].filter(([, { part }]) => part.change !== 'removed')
  if (there.length === 0) return
  const { count } = await tx
    .selectFrom('inventory_items')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('agent_id', '=', agentId)
    .executeTakeFirstOrThrow()
  const room = Math.max(0, most - count)
  const kept = there.length <= room ? there : [...(await known(tx, agentId, kind, there)), ...there.slice(0, room)]
  for (const rows of pieces([...new Map(kept)]))
    await tx
      .insertInto('inventory_items')
      .values(
        rows.map(([key, { at, label, part }]) => ({
          agent_id: agentId,
          kind,
          key,
          label,
          facts: factsOf(part),
          snapshot: part.snapshot ?? '',
          first_seen_at: at,
          changed_at: at,
        })),
      )
      .onConflict((conflict) =>
        conflict.columns(['agent_id', 'kind', 'key']).doUpdateSet((eb) => ({
          label: eb.ref('excluded.label'),
          facts: eb.ref('excluded.facts'),
          snapshot: eb.ref('excluded.snapshot'),
          // A whole telling says again what was there before: only a difference is a change.
          changed_at: sql`case when excluded.snapshot = '' then excluded.changed_at else inventory_items.changed_at end`,
        })),
      )
      .execute()
}

/** With no room for new ones, those that are kept already still change. */
async function known(tx: Tx, agentId: AgentId, kind: InventoryKind, items: readonly (readonly [string, Told])[]) {
  const keys = new Set<string>()
  for (const piece of pieces(items)) {
    const rows = await tx
      .selectFrom('inventory_items')
      .select('key')
      .where('agent_id', '=', agentId)
      .where('kind', '=', kind)
      .where(
        'key',
        'in',
        piece.map(([key]) => key),
      )
      .execute()
    for (const { key } of rows) keys.add(key)
  }
  return items.filter(([key]) => keys.has(key))
}

async function complete(tx: Tx, agentId: AgentId, { at, reason, part }: Told, most: number): Promise<void> {
  const { kind, snapshot = '', items = 0, is_whole: isWhole = false } = part
  await tx
    .deleteFrom('inventory_items')
    .where('agent_id', '=', agentId)
    .where('kind', '=', kind)
    .where('snapshot', '!=', snapshot)
    .execute()
  const { count } = await tx
    .selectFrom('inventory_items')
    .select((row) => row.fn.countAll<number>().as('count'))
    .where('agent_id', '=', agentId)
    .where('kind', '=', kind)
    .executeTakeFirstOrThrow()
  // Some of it was lost on the way, or is more than is kept.
  const missing = items - count
  const why = [reason, missing > 0 ? `${missing} of ${items} items did not arrive or are past ${most} of the host` : '']
    .filter(Boolean)
    .join('; ')
  const told = {
    told_at: at,
    is_whole: isWhole && missing === 0 ? (1 as const) : (0 as const),
    why: why === '' ? null : why,
  }
  await tx
    .insertInto('inventory_kinds')
    .values({ agent_id: agentId, kind, ...told })
    .onConflict((conflict) => conflict.columns(['agent_id', 'kind']).doUpdateSet(told))
    .execute()
}

function factsOf(part: Inventory): string {
  const json = JSON.stringify(part.item ?? {})
  return Buffer.byteLength(json) <= MAX_FACTS_BYTES ? json : '{}'
}

function* pieces<T>(all: readonly T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += ROWS_AT_ONCE) yield all.slice(at, at + ROWS_AT_ONCE)
}
