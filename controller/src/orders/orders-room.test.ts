import { createHash } from 'node:crypto'
import { COMMAND_TYPES, type CommandType } from '@firebreak/shared/commands/catalogue.ts'
import { COMMAND_STATES } from '@firebreak/shared/commands/command.ts'
import type { AgentId, CommandId, IncidentId } from '@firebreak/shared/ids.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { seal } from '@firebreak/shared/trust/dsse.ts'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { advance, findCommand } from './command-store.ts'
import { type Actor, type Intent, ROLES } from './orders.ts'
import { type FakeHost, type OrdersRig, ordersRig } from './orders.rig.ts'
import { mayFollow } from './states.ts'

let rig: OrdersRig
let host: FakeHost
beforeEach(async () => {
  rig = await ordersRig()
  host = await rig.host('web-1')
})
afterEach(() => rig.stop())

const ann: Actor = { kind: 'user', name: 'ann', role: 'responder' }
const playbook: Actor = { kind: 'playbook', id: 'contain-host' }
const ARGS = {
  'isolate-host': { hold_s: 600, on_controller_loss: 'hold' },
  'release-host': {},
  'kill-process': { pid: 4242, tree: true },
} as const
const BLOCKED = { name: 'tcp-new', target: '10.0.0.8:80', expected: 'blocked', found: 'blocked' }
const PROOF = { probes: [BLOCKED] }
const intent = (type: CommandType = 'isolate-host', more: Partial<Intent> = {}): Intent => ({
  agentId: host.agentId,
  type,
  args: ARGS[type],
  reason: 'because',
  ...more,
})
const propose = async (type: CommandType = 'isolate-host', more: Partial<Intent> = {}, actor: Actor = ann) => {
  const proposed = await rig.orders.propose(intent(type, more), actor)
  if (!proposed.ok) throw new Error(proposed.why)
  return proposed.value.id
}
const stateOf = async (id: CommandId) => (await findCommand(rig.state.db, id))?.state
const historyOf = async (id: CommandId) =>
  (
    await rig.state.db
      .selectFrom('command_transitions')
      .select('state')
      .where('command_id', '=', id)
      .orderBy('n')
      .execute()
  ).map(({ state }) => state)
const commandCount = (n: number) => expect.poll(() => host.commands.length).toBe(n)

describe('who may order what', () => {
  it('is one table for every door: no role below responder, no playbook beyond its types', async () => {
    for (const type of COMMAND_TYPES)
      for (const role of ROLES) {
        const result = await rig.orders.propose(intent(type), { kind: 'user', name: role, role })
        const may = role === 'responder' || role === 'engineer' || role === 'admin'
        expect([type, role, result.ok ? 'queued' : result.code]).toEqual([type, role, may ? 'queued' : 'forbidden'])
      }
    const id = await propose()
    const viewer: Actor = { kind: 'user', name: 'v', role: 'viewer' }
    expect(await rig.orders.cancel(id, viewer, 'x')).toMatchObject({ ok: false, code: 'forbidden' })
    expect(await rig.orders.preview(intent(), viewer)).toMatchObject({ ok: false, code: 'forbidden' })
  })

  it('lets no playbook contain a protected host, and a person only knowingly', async () => {
    const precious = await rig.host('db-1', { protected: 1 })
    const on = (type: CommandType) => intent(type, { agentId: precious.agentId })
    expect(await rig.orders.propose(on('isolate-host'), playbook)).toMatchObject({ ok: false, code: 'protected_host' })
    expect(await rig.orders.propose(on('kill-process'), playbook)).toMatchObject({ ok: false, code: 'protected_host' })
    expect(await rig.orders.preview(on('isolate-host'), ann)).toMatchObject({
      ok: true,
      value: { hostname: 'db-1', connected: false, protected: true },
    })
    expect(await rig.orders.propose(on('isolate-host'), ann)).toMatchObject({ ok: true })
  })

  it('refuses arguments that do not fit, and hosts that are not there', async () => {
    const code = async (given: Intent) => {
      const result = await rig.orders.propose(given, ann)
      return result.ok ? 'queued' : result.code
    }
    expect(await code(intent('isolate-host', { args: { hold_s: 1, on_controller_loss: 'hold' } }))).toBe('bad_args')
    expect(await code(intent('kill-process', { args: { pid: 1, tree: false } }))).toBe('bad_args')
    expect(await code(intent('kill-process', { args: { ...ARGS['kill-process'], also: 'rm' } as never }))).toBe(
      'bad_args',
    )
    const own = { ...ARGS['isolate-host'], release_code_sha256: 'a'.repeat(64) }
    expect(await code(intent('isolate-host', { args: own }))).toBe('bad_args')
    expect(await code(intent('delete-everything' as CommandType))).toBe('bad_args')
    expect(await code(intent('isolate-host', { agentId: 'z'.repeat(26) as AgentId }))).toBe('unknown_host')
    await rig.state.write((tx) => tx.updateTable('hosts').set({ revoked_at: 'now' }).execute())
    expect(await code(intent())).toBe('revoked_host')
    expect(await rig.state.db.selectFrom('commands').selectAll().execute()).toEqual([])
  })

  it('gives the same command for the same key, and refuses the key for another', async () => {
    const first = await propose('isolate-host', { idempotencyKey: 'k' })
    expect(await propose('isolate-host', { idempotencyKey: 'k' })).toBe(first)
    expect(await rig.orders.propose(intent('release-host', { idempotencyKey: 'k' }), ann)).toMatchObject({
      ok: false,
      code: 'conflicting_key',
    })
    expect(await propose('isolate-host', { idempotencyKey: 'k' }, playbook)).not.toBe(first)
  })
})

describe('delivery', () => {
  it('signs for the live connection, numbers upwards, and sends containment before anything else', async () => {
    await propose('kill-process')
    await rig.clock.advance(1_000)
    const release = await propose('release-host')
    await rig.clock.advance(1_000)
    await propose('isolate-host', { incidentId: '00000000-0000-4000-8000-000000000001' as IncidentId })
    expect(await stateOf(release)).toBe('queued')
    await host.connect()
    await commandCount(3)
    expect(host.commands.map(({ command }) => [command.type, command.seq])).toEqual([
      ['release-host', 1],
      ['isolate-host', 2],
      ['kill-process', 3],
    ])
    for (const { command } of host.commands)
      expect(command).toMatchObject({
        session: host.session,
        agent_id: host.agentId,
        ttl_s: 300,
        lease: 1,
        actor: 'user:ann',
      })
    expect(await historyOf(release)).toEqual(['proposed', 'approved', 'queued', 'delivered'])
  })

  it('sends an unanswered command again on the next connection, under its id and a new number, and never twice on one', async () => {
    await host.connect()
    const id = await propose()
    await commandCount(1)
    await propose('release-host')
    await commandCount(2)
    host.disconnect()
    await host.connect()
    await commandCount(4)
    expect(host.commands[2]?.command).toMatchObject({ cmd_id: id, session: host.session, seq: 3 })
    await host.answer('accepted')
    host.disconnect()
    await host.connect()
    await expect.poll(() => host.commands.filter(({ command }) => command.cmd_id === id).length).toBe(3)
    expect(host.commands.filter(({ command }) => command.type === 'release-host')).toHaveLength(2)
  })

  it('goes on above every number that the host has seen, also after the controller was set back to a backup', async () => {
    await host.connect({ lease: 7, seq: 100 })
    await propose()
    await commandCount(1)
    expect(host.last().command).toMatchObject({ lease: 8, seq: 101 })
    await rig.restart()
    await propose('release-host')
    await host.connect({ lease: 8, seq: 101 })
    await commandCount(3)
    expect(host.commands.slice(1).map(({ command }) => [command.lease, command.seq])).toEqual([
      [9, 102],
      [9, 103],
    ])
  })

  it('lets a wish expire whose host does not come, and cancels only what no host has', async () => {
    const late = await propose('isolate-host', { expiresInS: 60 })
    const cancelled = await propose('kill-process')
    expect(await rig.orders.cancel(cancelled, ann, 'wrong host')).toMatchObject({
      ok: true,
      value: { state: 'cancelled' },
    })
    await rig.clock.advance(61_000)
    await expect.poll(() => stateOf(late)).toBe('expired')
    await host.connect()
    const id = await propose()
    await commandCount(1)
    expect(await rig.orders.cancel(id, ann, 'too late')).toMatchObject({ ok: false, code: 'not_cancellable' })
    expect(host.last().command.cmd_id).toBe(id)
  })

  it('shows a command as unknown when the host is silent past the deadline, and takes the truth when it comes late', async () => {
    await host.connect()
    const id = await propose()
    await commandCount(1)
    const settled = rig.orders.settled(id)
    await rig.clock.advance(61_000)
    expect(await settled).toMatchObject({ state: 'unknown' })
    await host.answer('verified', { evidence: PROOF })
    expect(await stateOf(id)).toBe('verified')
  })
})

describe('delivery in bad moments', () => {
  it('keeps no line to a host whose connection ended while it was being opened', async () => {
    const connecting = host.connect()
    host.disconnect()
    await connecting
    const id = await propose()
    expect(await rig.orders.preview(intent(), ann)).toMatchObject({ ok: true, value: { connected: false } })
    await host.connect()
    await commandCount(1)
    expect(await historyOf(id)).toEqual(['proposed', 'approved', 'queued', 'delivered'])
  })

  it('believes a host that claims a later signer for that host alone', async () => {
    await host.connect({ lease: 2 ** 53 - 1, seq: 0 })
    const other = await rig.host('web-2')
    await other.connect()
    await rig.orders.propose(intent('release-host', { agentId: other.agentId }), ann)
    await expect.poll(() => other.commands.length).toBe(1)
    expect(other.last().command.lease).toBe(1)
    await propose()
    await commandCount(1)
    expect(host.last().command.lease).toBe(2 ** 31)
  })

  it('sends nothing again to a host that comes back after the deadline of its answer', async () => {
    await host.connect()
    const id = await propose()
    await commandCount(1)
    host.disconnect()
    await rig.orders.stop()
    rig.clock.setWall(rig.clock.now() + 3 * 86_400_000)
    await rig.restart()
    await host.connect()
    await propose('release-host')
    await commandCount(2)
    expect(host.last().command.type).toBe('release-host')
    await rig.clock.advance(1_000)
    await expect.poll(() => stateOf(id)).toBe('unknown')
  })

  it('delivers by itself what it could not deliver while the state could not be written', async () => {
    await host.connect()
    await rig.state.write((tx) =>
      sql`create trigger full before update on hosts begin select raise(abort, 'full'); end`.execute(tx),
    )
    const id = await propose()
    await rig.clock.advance(1_000)
    expect(await stateOf(id)).toBe('queued')
    await rig.state.write((tx) => sql`drop trigger full`.execute(tx))
    await rig.clock.advance(1_000)
    await commandCount(1)
  })
})

describe('receipts', () => {
  beforeEach(async () => {
    await host.connect()
  })

  it('move a command on, end the waiting, and are acked again when they are sent again', async () => {
    const id = await propose()
    await commandCount(1)
    const settled = rig.orders.settled(id)
    const accepted = host.receipt('accepted')
    expect(await rig.orders.receipt(host.agentId, accepted)).toEqual({ ok: true, value: 1 })
    expect(await host.answer('applied', { evidence: {} })).toEqual({ ok: true, value: 2 })
    expect(await rig.orders.receipt(host.agentId, accepted)).toEqual({ ok: true, value: 2 })
    expect(await host.answer('verified', { evidence: PROOF })).toEqual({ ok: true, value: 3 })
    expect(await settled).toMatchObject({ state: 'verified' })
    expect(await historyOf(id)).toEqual([
      'proposed',
      'approved',
      'queued',
      'delivered',
      'accepted',
      'applied',
      'verified',
    ])
    expect(await host.answer('reverted', { code: 'lapsed' })).toEqual({ ok: true, value: 4 })
    expect(await stateOf(id)).toBe('reverted')
    expect(await rig.audit.verify()).toMatchObject({ ok: true })
    expect(rig.alarms).toEqual([])
  })

  it('show no effect as proved whose evidence is missing or speaks against it', async () => {
    const id = await propose()
    await commandCount(1)
    await host.answer('verified', { evidence: { made_up: true } })
    expect(await stateOf(id)).toBe('applied')
    const probe = { name: 'tcp-new', target: '10.0.0.9:80', expected: 'blocked', found: 'open' }
    const controller = { name: 'controller', target: 'c:1', expected: 'open', found: 'open' }
    const unproved = [
      {},
      { probes: [] },
      { probes: [probe, BLOCKED] },
      { probes: [{ ...probe, found: 'unverifiable' }] },
      { probes: [controller] },
    ]
    for (const evidence of unproved) {
      await host.answer('verified', { evidence })
      expect(await stateOf(id), JSON.stringify(evidence)).toBe('applied')
    }
    await host.answer('verified', { evidence: { probes: [{ ...probe, found: 'unverifiable' }, controller, BLOCKED] } })
    expect(await stateOf(id)).toBe('verified')
  })

  it('show no process as ended that is still there, and no host as released that reaches nothing', async () => {
    const kill = await propose('kill-process')
    await commandCount(1)
    const evidence = { killed: [], surviving: [4243], respawned: [] }
    await host.answer('verified', { evidence })
    expect(await stateOf(kill)).toBe('applied')
    await host.answer('verified', { evidence: { ...evidence, surviving: [] } })
    expect(await stateOf(kill)).toBe('verified')
    const release = await propose('release-host')
    await commandCount(2)
    await host.answer('verified', { evidence: { ruleset_restored: true } })
    expect(await stateOf(release)).toBe('applied')
    const open = { name: 'loopback', target: '127.0.0.1', expected: 'open', found: 'open' }
    await host.answer('verified', { evidence: { probes: [open] } })
    expect(await stateOf(release)).toBe('verified')
  })

  it('are not believed when another key signed them, and are kept as evidence', async () => {
    const id = await propose()
    await commandCount(1)
    const forged = host.receipt('verified', { evidence: PROOF })
    const stranger = signingKeyOf(generateSeed())
    const resigned = seal(forged.payloadType, Buffer.from(forged.payload, 'base64'), [stranger])
    const changed = {
      ...forged,
      payload: Buffer.from(
        Buffer.from(forged.payload, 'base64').toString().replace('"mono_ms":1', '"mono_ms":2'),
      ).toString('base64'),
    }
    for (const envelope of [resigned, changed, { ...forged, payloadType: 'application/json' }])
      expect(await rig.orders.receipt(host.agentId, envelope)).toMatchObject({ ok: false, code: 'malformed' })
    expect(await stateOf(id)).toBe('delivered')
    expect(rig.alarms.map(({ kind }) => kind)).toEqual([
      'broken_receipt_chain',
      'broken_receipt_chain',
      'broken_receipt_chain',
    ])
    expect(await rig.state.db.selectFrom('receipts').select('valid').execute()).toEqual([
      { valid: 0 },
      { valid: 0 },
      { valid: 0 },
    ])
  })

  it('raise an alarm when one is missing, and when one does not continue the chain', async () => {
    const id = await propose()
    await commandCount(1)
    await host.answer('accepted')
    host.receipt('applied')
    expect(await host.answer('applied', { evidence: {} })).toEqual({ ok: true, value: 3 })
    expect(rig.alarms).toMatchObject([{ kind: 'missing_receipt', key: '2-2' }])
    host.prevSha256 = createHash('sha256').update('other history').digest('hex')
    expect(await host.answer('verified', { evidence: PROOF })).toEqual({ ok: true, value: 4 })
    expect(await stateOf(id)).toBe('applied')
    expect(rig.alarms[1]).toMatchObject({ kind: 'broken_receipt_chain' })
    expect(await host.answer('verified', { evidence: PROOF })).toEqual({ ok: true, value: 5 })
    expect(await stateOf(id)).toBe('verified')
    host.receiptSeq = 1
    await host.answer('failed')
    expect(rig.alarms[2]).toMatchObject({ kind: 'broken_receipt_chain' })
    expect(await stateOf(id)).toBe('verified')
  })

  it('change nothing for a command of another host or a payload that was never sent', async () => {
    const id = await propose()
    await commandCount(1)
    const other = await rig.host('web-2')
    await rig.orders.receipt(other.agentId, other.receipt('verified', { evidence: PROOF }, host.last()))
    await host.answer('verified', { evidence: PROOF, command_sha256: 'f'.repeat(64) })
    expect(await stateOf(id)).toBe('delivered')
  })
})

describe('the one-time release code', () => {
  it('is made here, lies sealed, reaches the host as a digest, and each reading is in the log', async () => {
    await host.connect()
    const id = await propose()
    await commandCount(1)
    const read = await rig.orders.releaseCodes.read(id, 'user:root')
    if (!read.ok) throw new Error(read.why)
    expect(read.value).toMatch(/^[a-z2-7]{5}(-[a-z2-7]{5}){3}$/)
    expect((host.last().command.args as { release_code_sha256: string }).release_code_sha256).toBe(
      createHash('sha256').update(read.value).digest('hex'),
    )
    const dump = JSON.stringify([
      await rig.state.db.selectFrom('commands').selectAll().execute(),
      await rig.state.db.selectFrom('audit').selectAll().execute(),
    ])
    expect(dump).not.toContain(read.value)
    expect(dump).toContain('orders.release_code.read')
    expect(await rig.orders.releaseCodes.read(await propose('release-host'), 'user:root')).toMatchObject({ ok: false })
  })
})

describe('the table of states', () => {
  it('is the only way: every step that it does not name is impossible', async () => {
    const id = await propose()
    const row = await findCommand(rig.state.db, id)
    if (!row) throw new Error('gone')
    for (const from of COMMAND_STATES)
      for (const to of COMMAND_STATES) {
        if (mayFollow(from, to)) continue
        await rig.state.write((tx) => tx.updateTable('commands').set({ state: from }).where('id', '=', id).execute())
        await expect(rig.state.write((tx) => advance(tx, { ...row, state: from }, to, 'now'))).rejects.toMatchObject({
          code: 'illegal_transition',
        })
      }
  })
})
