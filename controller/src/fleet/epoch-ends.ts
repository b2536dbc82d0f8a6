/** What a host says of epochs that ended on it: a snapshot that was put back is an alarm, a power cut is none; each is taken once. */
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { AgentRun, Renewal } from '@firebreak/shared/wire/messages.ts'
import type { CoverageBook } from '../coverage/index.ts'
import type { Tx } from '../store/state/state-store.ts'
import { closeDifference } from './stream-accounts.ts'

/** Signs of life are at most some seconds old on disk after a power cut; a disk that is behind by more was put back. */
const POWER_CUT_MS = 60_000
const MAX_EVENTS = Number.MAX_SAFE_INTEGER

/** An epoch that ended because the disk of the host went back in time. */
export interface WentBack {
  readonly renewal: Renewal
  /** Events that the host had said to hold and that never came. */
  readonly lost: number
}

/** Whether this life of the agent follows one that had not got as far as the host had before. */
export function isBehind(
  run: AgentRun | undefined,
  before: { readonly runId: string | null; readonly saidAt: string | null },
): boolean {
  if (run === undefined || before.saidAt === null) return run === undefined
  // The same process, from a snapshot with its memory; or its state, from one without.
  if (run.id === before.runId) return true
  return run.last_alive_ms === undefined || Date.parse(before.saidAt) > run.last_alive_ms + POWER_CUT_MS
}

/** Takes what is new of it; `isBehind` decides of those that the host's own disk brought about. */
export async function takeRenewals(
  tx: Tx,
  host: { readonly agentId: AgentId; readonly isBehind: boolean; readonly saidAt: string | null; readonly at: string },
  renewals: readonly Renewal[],
  coverage: CoverageBook,
): Promise<readonly WentBack[]> {
  const wentBack: WentBack[] = []
  for (const renewal of renewals) {
    const { agentId, at } = host
    const inserted = await tx
      .insertInto('epoch_ends')
      .values({
        agent_id: agentId,
        epoch: renewal.from,
        into_epoch: renewal.into,
        why: renewal.why,
        at: new Date(Math.min(renewal.at_ms, Date.parse(at))).toISOString(),
        recorded_at: at,
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst()
    if (inserted.numInsertedOrUpdatedRows === 0n) continue
    if (renewal.why === 'controller_behind') continue // its counts say what this controller lost
    await explain(tx, agentId, renewal, at)
    if ((renewal.why !== 'ahead' && renewal.why !== 'forked') || !host.isBehind) continue
    wentBack.push({ renewal, lost: await missing(tx, host, renewal, coverage) })
  }
  return wentBack
}

async function explain(tx: Tx, agentId: AgentId, { from, why }: Renewal, at: string): Promise<void> {
  const open = await tx
    .selectFrom('accounting_differences')
    .select('id')
    .where('agent_id', '=', agentId)
    .where('epoch', '=', from)
    .where('closed_at', 'is', null)
    .execute()
  for (const { id } of open) await closeDifference(tx, id, at, `the epoch ended: ${why}`)
}

/** What the host had told to hold when it spoke last, and what of it never came, is lost with the past that is gone. */
async function missing(
  tx: Tx,
  { agentId, saidAt, at }: { readonly agentId: AgentId; readonly saidAt: string | null; readonly at: string },
  { from }: Renewal,
  coverage: CoverageBook,
): Promise<number> {
  const rows = await tx
    .selectFrom('streams')
    .select(['class', 'produced', 'stored', 'dropped'])
    .where('agent_id', '=', agentId)
    .where('epoch', '=', from)
    .execute()
  let sum = 0
  for (const { class: name, produced, stored, dropped } of rows) {
    const events = Math.max(0, produced - stored - dropped)
    if (events === 0) continue
    sum = Math.min(MAX_EVENTS, sum + events)
    const why = 'they were on a disk that was put back, or the machine is a copy and the other one has them'
    await coverage.lost(tx, agentId, name as EventClass, { from: saidAt ?? at, to: at, events, why })
  }
  return sum
}
