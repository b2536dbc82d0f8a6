/** Holds what agents say of their streams against what is stored: each difference is a row, an alarm and a figure, until it is explained. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { GapReason } from '@firebreak/shared/wire/frame.ts'
import type { StreamCount } from '@firebreak/shared/wire/messages.ts'
import type { Selectable } from 'kysely'
import { RESTORED_TO } from '../store/state/restored-to.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { examine, type Finding, FINDINGS } from './accounting.ts'
import type { RaiseAlarm } from './alarm.ts'
import type { FleetLog, FleetMetrics } from './log-names.ts'

const RESTORED: GapReason = 'controller_restored'

type StreamRow = Selectable<Tables['streams']>

export interface StreamAccountsDeps {
  readonly state: StateStore
  readonly clock: Clock
  readonly log: FleetLog
  readonly metrics: FleetMetrics
  readonly raise: RaiseAlarm
  /** Every difference of this host is explained: what was raised about them is over. */
  readonly explained: (agentId: AgentId, why: string) => Promise<void>
}

/** What a word of an agent changed, to be told after the commit. */
export interface Held {
  readonly found: readonly { readonly said: StreamCount; readonly finding: Finding }[]
  /** Differences that are explained now, and whether any is left. */
  readonly closed: number
  readonly open: number
}

export class StreamAccounts {
  readonly #deps: StreamAccountsDeps

  constructor(deps: StreamAccountsDeps) {
    this.#deps = deps
  }

  /** `live`: said on a connection on which it had begun a new epoch if it had to. */
  async hold(tx: Tx, agentId: AgentId, streams: readonly StreamCount[], live: boolean): Promise<Held> {
    const rows = await rowsOf(tx, agentId, [...new Set(streams.map(({ epoch }) => epoch))])
    const open = await tx
      .selectFrom('accounting_differences')
      .selectAll()
      .where('agent_id', '=', agentId)
      .where('closed_at', 'is', null)
      .execute()
    const at = new Date(this.#deps.clock.now()).toISOString()
    const found: { said: StreamCount; finding: Finding }[] = []
    let closed = 0
    let opened = 0
    for (const said of streams) {
      const row = rows.find((row) => row.epoch === said.epoch && row.class === said.class)
      const finding = await this.#examine(tx, agentId, said, row, live)
      const known = open.find((one) => one.epoch === said.epoch && one.class === said.class)
      const isSame = finding !== undefined && known?.kind === finding.kind && known.events === finding.events
      if (known && !isSame) {
        closed++
        const why = finding ? 'another difference took its place' : 'the next count adds up'
        await closeDifference(tx, known.id, at, why)
      }
      if (finding && !isSame) {
        opened++
        found.push({ said, finding })
        const { kind, events, why } = finding
        await tx
          .insertInto('accounting_differences')
          .values({
            agent_id: agentId,
            epoch: said.epoch,
            class: said.class,
            kind,
            events,
            why,
            opened_at: at,
            closed_at: null,
            closed_why: null,
          })
          .execute()
      }
      // The first word of a connection may be from a past that is gone; what the host had said before is needed to tell what went with it.
      if (row && live) await keepWord(tx, row, said)
    }
    return { found, closed, open: open.length - closed + opened }
  }

  /** After the commit of `hold`. */
  async tell(agentId: AgentId, held: Held): Promise<void> {
    const { clock, log, metrics, raise, explained } = this.#deps
    for (const { said, finding } of held.found) {
      metrics.unaccounted.inc({ kind: finding.kind }, finding.events)
      log.error('fleet.events.unaccounted', {
        'host.id': agentId,
        class: said.class,
        kind: finding.kind,
        events: finding.events,
      })
      await raise({
        kind: 'unaccounted_events',
        agentId,
        key: `${said.epoch}:${said.class}:${finding.kind}:${finding.events}`,
        atMs: clock.now(),
        message: `${said.class}: ${finding.why}`,
      })
    }
    if (held.closed > 0 && held.open === 0) {
      log.info('fleet.events.accounted', { 'host.id': agentId })
      await explained(agentId, 'every event is accounted for again')
    }
    if (held.closed > 0 || held.found.length > 0) await this.measure()
  }

  /** The figures of what is open, from the rows. */
  async measure(): Promise<void> {
    const sums = await this.#deps.state.db
      .selectFrom('accounting_differences')
      .select((e) => ['kind', e.fn.sum<number | string>('events').as('events')])
      .where('closed_at', 'is', null)
      .groupBy('kind')
      .execute()
    for (const kind of FINDINGS)
      this.#deps.metrics.unaccountedOpen.set({ kind }, Number(sums.find((sum) => sum.kind === kind)?.events ?? 0))
  }

  async #examine(
    tx: Tx,
    agentId: AgentId,
    said: StreamCount,
    row: StreamRow | undefined,
    live: boolean,
  ): Promise<Finding | undefined> {
    const first = examine(said, row)
    // At the start of a connection an agent whose disk went back has not begun its new epoch yet; that is told by itself.
    if (first?.kind === 'rolled_back' && !live) return undefined
    if (first?.kind !== 'missing') return first
    const finding = examine(said, { ...(row ?? NOTHING_YET), damaged: await lostHere(tx, agentId, said) })
    if (finding?.kind !== 'missing') return finding
    const restoredTo = await restoredToOf(tx)
    if (restoredTo === undefined) return finding
    // It is told by the same agent when it has begun its new epoch: with the counts of the one that ended.
    if (!live && (said.acked ?? 0) > (row?.acked_seq ?? 0)) return undefined
    if (!(await endedBehind(tx, agentId, said))) return finding
    await forget(tx, agentId, said, row?.acked_seq ?? 0, finding.events, restoredTo)
    return undefined
  }
}

const NOTHING_YET = { acked_seq: 0, stored: 0, invalid: 0 }

/** Events that were taken in and are gone, by the gaps that say so. */
async function lostHere(tx: Tx, agentId: AgentId, said: StreamCount): Promise<number> {
  const damaged = await tx
    .selectFrom('gaps')
    .select((e) => e.fn.sum<number | string | null>((e) => e('to_seq', '-', e.ref('from_seq'))).as('span'))
    .select((e) => e.fn.countAll<number | string>().as('count'))
    .where('agent_id', '=', agentId)
    .where('epoch', '=', said.epoch)
    .where('class', '=', said.class)
    .where('reason', 'in', ['controller_damaged', RESTORED])
    .executeTakeFirstOrThrow()
  return Number(damaged.span ?? 0) + Number(damaged.count)
}

/** When the backup was made to which this controller was set back, if it ever was. */
async function restoredToOf(tx: Tx): Promise<string | undefined> {
  const row = await tx.selectFrom('meta').select('value').where('key', '=', RESTORED_TO).executeTakeFirst()
  return row?.value
}

/** Whether the host has ended the epoch because this controller had forgotten what it had acked. */
async function endedBehind(tx: Tx, agentId: AgentId, { epoch, moved }: StreamCount): Promise<boolean> {
  if (moved === undefined) return false
  const end = await tx
    .selectFrom('epoch_ends')
    .select('why')
    .where('agent_id', '=', agentId)
    .where('epoch', '=', epoch)
    .executeTakeFirst()
  return end?.why === 'controller_behind'
}

/** What was acked after the backup and is neither here nor on the host any more: a gap with its number and its time. */
async function forget(
  tx: Tx,
  agentId: AgentId,
  { epoch, class: name }: StreamCount,
  ackedSeq: number,
  events: number,
  restoredTo: string,
): Promise<void> {
  const end = await tx
    .selectFrom('epoch_ends')
    .select(['at', 'recorded_at'])
    .where('agent_id', '=', agentId)
    .where('epoch', '=', epoch)
    .executeTakeFirstOrThrow()
  await tx
    .insertInto('gaps')
    .values({
      agent_id: agentId,
      epoch,
      class: name,
      from_seq: ackedSeq + 1,
      to_seq: ackedSeq + events,
      reason: RESTORED,
      first_at: restoredTo,
      last_at: end.at,
      recorded_at: end.recorded_at,
    })
    .execute()
  await tx
    .updateTable('streams')
    .set((e) => ({ dropped: e('dropped', '+', events) }))
    .where('agent_id', '=', agentId)
    .where('epoch', '=', epoch)
    .where('class', '=', name)
    .execute()
}

export async function closeDifference(tx: Tx, id: number, at: string, why: string): Promise<void> {
  await tx.updateTable('accounting_differences').set({ closed_at: at, closed_why: why }).where('id', '=', id).execute()
}

async function rowsOf(tx: Tx, agentId: AgentId, epochs: readonly string[]): Promise<readonly StreamRow[]> {
  if (epochs.length === 0) return []
  return tx.selectFrom('streams').selectAll().where('agent_id', '=', agentId).where('epoch', 'in', epochs).execute()
}

async function keepWord(tx: Tx, row: StreamRow, said: StreamCount): Promise<void> {
  const { produced, spooled, dropped, moved = null } = said
  if (row.produced === produced && row.spooled === spooled && row.reported_dropped === dropped && row.moved === moved)
    return
  await tx
    .updateTable('streams')
    .set({ produced, spooled, reported_dropped: dropped, moved })
    .where('agent_id', '=', row.agent_id)
    .where('epoch', '=', row.epoch)
    .where('class', '=', row.class)
    .execute()
}
