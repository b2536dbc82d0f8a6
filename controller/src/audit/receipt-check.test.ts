import { Readable } from 'node:stream'
import type { CommandId } from '@firebreak/shared/ids.ts'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyExport } from '../cli/audit.ts'
import { type FakeHost, type OrdersRig, ordersRig } from '../orders/orders.rig.ts'
import type { Tx } from '../store/state/state-store.ts'

let rig: OrdersRig
let host: FakeHost
let other: FakeHost

beforeEach(async () => {
  rig = await ordersRig()
  host = await rig.host('web-1')
  other = await rig.host('web-2')
  for (const each of [host, other]) {
    await each.connect()
    await ordered(each)
    for (const state of ['accepted', 'applied', 'failed'] as const) await each.answer(state)
  }
})
afterEach(() => rig.stop())

async function ordered(to: FakeHost): Promise<CommandId> {
  const before = to.commands.length
  const intent = {
    agentId: to.agentId,
    type: 'kill-process' as const,
    args: { pid: 4242, tree: false },
    reason: 'a test',
  }
  const proposed = await rig.orders.propose(intent, { kind: 'user', name: 'ann', role: 'responder' })
  if (!proposed.ok) throw new Error(proposed.why)
  await expect.poll(() => to.commands.length).toBe(before + 1)
  return proposed.value.id
}

/** Both ways to check: in the controller, and from an export where there is no controller. */
async function bothFindings() {
  const lines: string[] = []
  for await (const line of rig.audit.exportLines()) lines.push(line)
  const [here, elsewhere] = [await rig.audit.verify(), await verifyExport(Readable.from(lines), 'the export')]
  expect([elsewhere.ok, elsewhere.broken_at, elsewhere.why]).toEqual([here.ok, here.brokenAt, here.why])
  return here
}

const receiptOf = (agentId: string, seq: number) => sql`agent_id = ${agentId} and receipt_seq = ${seq}`

describe('the receipts', () => {
  it('hold as they came in, those of each host for themselves', async () => {
    expect(await bothFindings()).toMatchObject({ ok: true, receipts: 6, missingReceipts: 0 })
    expect(await rig.audit.verify({ from: 8 })).toMatchObject({ ok: true })
  })

  it('hold, with the gap counted, when one never came, and when one was refused', async () => {
    await ordered(host)
    host.receipt('accepted')
    await host.answer('applied')
    host.prevSha256 = 'f'.repeat(64)
    await host.answer('failed')
    expect(rig.alarms.map(({ kind }) => kind)).toEqual(['missing_receipt', 'broken_receipt_chain'])
    expect(await bothFindings()).toMatchObject({ ok: true, receipts: 8, missingReceipts: 1 })
  })

  it.each([
    [
      'a changed one',
      async (tx: Tx) => {
        const row = await tx
          .selectFrom('receipts')
          .selectAll()
          .where('agent_id', '=', host.agentId)
          .where('receipt_seq', '=', 3)
          .executeTakeFirstOrThrow()
        const envelope = JSON.parse(row.envelope) as { payload: string }
        const said = Buffer.from(envelope.payload, 'base64').toString().replace('failed', 'verified')
        envelope.payload = Buffer.from(said).toString('base64')
        await sql`update receipts set envelope = ${JSON.stringify(envelope)} where ${receiptOf(host.agentId, 3)}`.execute(
          tx,
        )
      },
      'does not hold',
    ],
    [
      'one that is shown as another than it is',
      (tx: Tx) => sql`update receipts set state = 'verified' where ${receiptOf(host.agentId, 3)}`.execute(tx),
      'do not say what the host signed',
    ],
    ['a deleted one', (tx: Tx) => sql`delete from receipts where ${receiptOf(host.agentId, 2)}`.execute(tx), 'is gone'],
    [
      'two in the place of each other',
      (tx: Tx) =>
        sql`update receipts set receipt_seq = 5 - receipt_seq where agent_id = ${host.agentId} and receipt_seq > 1`.execute(
          tx,
        ),
      'is gone',
    ],
    [
      'two whose signed texts were swapped',
      (tx: Tx) =>
        sql`update receipts set envelope = (select envelope from receipts b where b.agent_id = receipts.agent_id and b.receipt_seq = 5 - receipts.receipt_seq) where agent_id = ${host.agentId} and receipt_seq > 1`.execute(
          tx,
        ),
      'another one than the one that came',
    ],
    [
      'a refused one that is kept as believed',
      (tx: Tx) => sql`update receipts set valid = 0 where ${receiptOf(host.agentId, 2)}`.execute(tx),
      'it is kept as refused',
    ],
    [
      'the key of a host replaced',
      (tx: Tx) =>
        sql`update hosts set public_key = ${Buffer.alloc(32, 7).toString('base64')} where agent_id = ${host.agentId}`.execute(
          tx,
        ),
      'the key is not the one of this host',
    ],
  ])('are found not to hold: %s', async (_what, tamper, why) => {
    await rig.state.write(async (tx) => {
      await tamper(tx)
    })
    const found = await bothFindings()
    expect(found).toMatchObject({ ok: false, brokenAt: expect.any(Number), why: expect.stringContaining(why) })
    expect(found.why).toContain(host.agentId)
  })
})
