import { cpSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Receipt } from '@firebreak/shared/commands/command.ts'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { fakeActions, makeWorld, OrderedHost, readReceipts, type World } from './ordered-host.fake.ts'

const isolateArgs = { hold_s: 3_600, on_controller_loss: 'hold' }
const states = (receipts: readonly Receipt[]) =>
  receipts.map(({ state, code }) => (code === undefined ? state : `${state}:${code}`))

async function ready(options: ConstructorParameters<typeof OrderedHost>[0] = {}): Promise<OrderedHost> {
  const host = new OrderedHost(options)
  await host.orders.recover(fakeActions(host.world))
  return host
}

it('carries out a good command once and answers each step with a signed, chained receipt', async () => {
  const host = await ready()
  expect(host.receive(host.isolate())).toMatchObject({ outcome: 'received' })
  await host.settle()
  expect(host.world.applied.length).toBe(1)
  expect(states(host.receipts())).toEqual(['accepted', 'applied', 'verified'])
  expect(host.orders.position()).toEqual({ lease: 1, seq: 1 })
})

it('carries out commands one after the other in the order in which they came', async () => {
  const host = await ready()
  let go = () => {}
  host.world.gate = new Promise((resolve) => {
    go = () => resolve()
  })
  const ids: string[] = []
  for (const type of ['isolate-host', 'release-host', 'isolate-host'] as const) {
    const body = host.body(type, type === 'isolate-host' ? isolateArgs : {})
    ids.push(body.cmd_id)
    host.receive(host.sealed(body))
  }
  await host.settle()
  expect(host.world.applied).toEqual([])
  go()
  await host.settle()
  expect(host.world.applied).toEqual(ids)
})

it('does not keep a release waiting for an action that hangs, and says what became of both', async () => {
  const host = await ready()
  let go = () => {}
  host.world.gate = new Promise((resolve) => {
    go = () => resolve()
  })
  host.receive(host.isolate())
  await host.settle()
  host.world.gate = Promise.resolve()
  const release = host.body('release-host', {})
  host.receive(host.sealed(release))
  await host.clock.advance(119_000)
  expect(host.world.applied).toEqual([])
  await host.clock.advance(2_000)
  await host.settle()
  expect(host.world.applied).toEqual([release.cmd_id])
  // What the hung one does in the end does not take the last word back.
  go()
  await host.settle()
  expect(states(host.receipts())).toEqual(['accepted', 'failed:interrupted', 'accepted', 'applied', 'verified'])
})

it('starts to work although an action hangs when it is to put its effects back in force', async () => {
  const host = new OrderedHost()
  const actions = fakeActions(host.world)
  const hung = { ...actions['kill-process'], resume: () => new Promise<void>(() => {}) }
  const recovered = host.orders.recover({ ...actions, 'kill-process': hung })
  await host.clock.advance(61_000)
  await recovered
  host.receive(host.isolate())
  await host.settle()
  expect(states(host.receipts())).toEqual(['accepted', 'applied', 'verified'])
})

it('a disk that takes no entry for a while delays a command and its receipts, and loses none', async () => {
  for (const broken of ['journal.started+receipt.written', 'journal.done+receipt.written']) {
    let fails = 2
    const host = await ready({
      step(name) {
        if (name === broken && fails-- > 0) throw new Error('the disk is full')
      },
    })
    host.receive(host.isolate())
    await host.settle()
    expect(states(host.receipts()).at(-1), broken).not.toBe('verified')
    await host.clock.advance(11_000)
    await host.settle()
    expect(states(host.receipts()), broken).toEqual(['accepted', 'applied', 'verified'])
    expect(host.world.applied.length, broken).toBe(1)
  }
})

it('answers a refused precondition, and runs nothing', async () => {
  const host = await ready()
  host.world.checkRefusal = 'precondition_failed'
  host.receive(host.isolate())
  await host.settle()
  expect(states(host.receipts())).toEqual(['refused:precondition_failed'])
  expect(host.world.applied).toEqual([])
})

it('tells of an action that broke, and goes on with the next command', async () => {
  const host = await ready()
  host.world.fail = true
  host.receive(host.isolate())
  await host.settle()
  host.world.fail = false
  host.receive(host.isolate())
  await host.settle()
  expect(states(host.receipts())).toEqual(['accepted', 'failed:action_failed', 'accepted', 'applied', 'verified'])
})

it('never runs a command twice: a known id under a new number gets its stored receipts again', async () => {
  const host = await ready()
  const again: number[] = []
  host.orders.receipts.onAgain((envelopes) => again.push(envelopes.length))
  const body = host.body('isolate-host', isolateArgs)
  host.receive(host.sealed(body))
  await host.settle()
  expect(host.receive(host.sealed({ ...body, seq: body.seq + 1 }))).toEqual({ outcome: 'repeated', cmdId: body.cmd_id })
  await host.settle()
  expect(host.world.applied.length).toBe(1)
  expect(again).toEqual([3])
  expect(host.receive(host.sealed({ ...body, seq: body.seq + 1 }))).toMatchObject({ code: 'replayed' })
})

it('a replay is refused without touching what is said about the command that was obeyed', async () => {
  const host = await ready()
  const envelope = host.isolate()
  host.receive(envelope)
  await host.settle()
  expect(host.receive(envelope)).toEqual({ outcome: 'refused', code: 'replayed' })
  const last = host.receipts().at(-1)
  expect(last).toMatchObject({ state: 'refused', code: 'replayed' })
  expect(last?.cmd_id).toBeUndefined()
  expect(last?.command_sha256).toBe(host.receipts()[0]?.command_sha256)
})

it('a number that was judged is used up, whatever the judgement was', async () => {
  const host = await ready({ ceiling: 'observe_only: true\n' })
  expect(host.receive(host.isolate({ seq: 7 }))).toMatchObject({ code: 'above_ceiling' })
  expect(host.orders.position()).toEqual({ lease: 1, seq: 7 })
  expect(host.receive(host.isolate({ seq: 7 }))).toMatchObject({ code: 'replayed' })
})

it('what is not for this host or not signed uses no number up', async () => {
  const host = await ready()
  host.receive(host.isolate({ seq: 9, agent_id: 'a'.repeat(26) }))
  host.receive(host.sealed(host.body('isolate-host', isolateArgs, { seq: 9 }), [host.keys.stranger]))
  expect(host.orders.position()).toEqual({ lease: 0, seq: 0 })
})

it('drops what waited for its turn when its life is over or its key has been revoked meanwhile', async () => {
  const host = await ready()
  let go = () => {}
  host.world.gate = new Promise((resolve) => {
    go = () => resolve()
  })
  host.receive(host.isolate())
  await host.settle()
  host.receive(host.isolate({ ttl_s: 5 }))
  host.receive(host.sealed(host.body('release-host', {}), [host.keys.releaser]))
  await host.clock.advance(6_000)
  host.follow({ revoked: [host.keys.revoked.kid, host.keys.releaser.kid] })
  go()
  await host.settle()
  expect(states(host.receipts())).toEqual([
    'accepted',
    'applied',
    'verified',
    'refused:expired',
    'refused:key_without_right',
  ])
  expect(host.world.applied.length).toBe(1)
})

it('drops what waited for its turn when the owner of the host has forbidden it meanwhile', async () => {
  const host = await ready()
  let go = () => {}
  host.world.gate = new Promise((resolve) => {
    go = () => resolve()
  })
  host.receive(host.isolate())
  host.receive(host.isolate())
  host.receive(host.sealed(host.body('release-host', {})))
  await host.settle()
  writeFileSync(host.ceilingPath, 'observe_only: true\n', { mode: 0o600 })
  go()
  await host.settle()
  expect(host.world.applied.length).toBe(2)
  expect(states(host.receipts()).filter((state) => state.startsWith('refused'))).toEqual(['refused:above_ceiling'])
})

it('an expired trust file stops what harms and lets through what frees the host', async () => {
  const host = await ready({ file: { expires_at: '2026-01-01T00:00:01Z' } })
  await host.clock.advance(2_000)
  expect(host.receive(host.isolate())).toMatchObject({ code: 'trust_expired' })
  expect(host.receive(host.sealed(host.body('release-host', {})))).toMatchObject({ outcome: 'received' })
})

it('does not believe a clock that was set back about the end of the trust file', async () => {
  const host = await ready({ file: { expires_at: '2026-01-01T00:00:01Z' } })
  await host.clock.advance(2_000)
  host.clock.setWall(Date.UTC(2025, 0, 1))
  expect(host.receive(host.isolate())).toMatchObject({ code: 'trust_expired' })
})

it('a type that needs two signatures is refused with one of them', async () => {
  const host = await ready({ file: { dual_types: ['isolate-host'] } })
  const body = () => host.body('isolate-host', isolateArgs)
  expect(host.receive(host.sealed(body()))).toMatchObject({ code: 'key_without_right' })
  expect(host.receive(host.sealed(body(), [host.keys.operator]))).toMatchObject({ code: 'key_without_right' })
  expect(host.receive(host.sealed(body(), [host.keys.command, host.keys.operator]))).toMatchObject({
    outcome: 'received',
  })
})

it('counts an hour of commands, also over a restart', async () => {
  const host = await ready({ ceiling: 'max_per_hour: { isolate-host: 2 }\n' })
  for (let i = 0; i < 2; i++) {
    host.receive(host.isolate())
    await host.settle()
  }
  const life = host.open()
  await life.recover(fakeActions(host.world))
  expect(host.receive(host.isolate())).toMatchObject({ code: 'rate_limited' })
  await host.clock.advance(3_600_001)
  expect(host.receive(host.isolate({ issued_mono_ms: 3_600_001 }))).toMatchObject({ outcome: 'received' })
})

it('keeps receipts until they are acked, and the numbers go on after a restart', async () => {
  const host = await ready()
  host.receive(host.isolate())
  await host.settle()
  host.orders.receipts.acked(2)
  const life = host.open()
  await life.recover(fakeActions(host.world))
  expect(host.receipts().map(({ receipt_seq: seq }) => seq)).toEqual([3])
  host.receive(host.isolate())
  await host.settle()
  expect(host.receipts().map(({ receipt_seq: seq }) => seq)).toEqual([3, 4, 5, 6])
})

it('gives no receipt number out twice when its disk went back in time', async () => {
  const host = await ready()
  host.orders.receipts.resume(40)
  host.receive(host.isolate())
  await host.settle()
  expect(host.receipts().map(({ receipt_seq: seq }) => seq)).toEqual([41, 42, 43])
})

it('a flood of rubbish is refused each time but fills no disk; the next answer tells how many went unanswered', async () => {
  const host = await ready()
  for (let i = 0; i < 2_000; i++) expect(host.receive(Buffer.from(`rubbish ${i}`))).toMatchObject({ code: 'malformed' })
  expect(host.receipts().length).toBe(50)
  expect(statSync(join(host.stateDir, 'journal')).size).toBeLessThan(200_000)
  await host.clock.advance(10_000)
  host.receive(Buffer.from('one more'))
  expect(host.receipts().at(-1)?.why).toContain('1950 refusals before it were not answered')
})

it('evidence that no frame could carry is left out and named', async () => {
  const host = await ready()
  const evidence = { killed: Array.from({ length: 4_000 }, (_, i) => ({ pid: i, entity_id: 'e'.repeat(100) })) }
  await host.orders.ended('0190a000-0000-7000-8000-000000000000', { state: 'verified', evidence: evidence as never })
  expect(host.receipts()[0]).toMatchObject({
    state: 'verified',
    why: expect.stringContaining('left out, sha256') as string,
  })
})

it('a journal without its last bytes is one that ended earlier', async () => {
  const host = await ready()
  host.receive(host.isolate())
  await host.settle()
  const path = join(host.stateDir, 'journal')
  const whole = readFileSync(path)
  for (let cut = 1; cut < 400; cut += 7) {
    writeFileSync(path, whole)
    truncateSync(path, whole.length - cut)
    const world = makeWorld()
    const life = host.open()
    await life.recover(fakeActions(world))
    expect(world.applied).toEqual([])
    const receipts = host.receipts()
    expect(['verified', 'failed']).toContain(receipts.at(-1)?.state)
  }
})

/** The disk and the world as a kill at one step would leave them. */
interface Snapshot {
  readonly step: string
  readonly stateDir: string
  readonly world: World
}

it('killed at any step, it says what became of the command, runs nothing again and loses no receipt', async () => {
  const snapshots: Snapshot[] = []
  const world = makeWorld()
  const dir: { path?: string } = {}
  const host = new OrderedHost({
    world,
    step(step) {
      if (dir.path === undefined) return
      const stateDir = temporaryFolder()
      cpSync(dir.path, stateDir, { recursive: true })
      snapshots.push({ step, stateDir, world: { ...makeWorld(), applied: [...world.applied] } })
    },
  })
  await host.orders.recover(fakeActions(world))
  dir.path = host.stateDir
  host.receive(host.isolate())
  await host.settle()
  expect(snapshots.map(({ step }) => step)).toEqual([
    'journal.received.before',
    'journal.received.written',
    'journal.received.flushed',
    'journal.started+receipt.before',
    'journal.started+receipt.written',
    'journal.started+receipt.flushed',
    'fake.before',
    'fake.effect',
    'journal.receipt.before',
    'journal.receipt.written',
    'journal.receipt.flushed',
    'fake.reported',
    'journal.done+receipt.before',
    'journal.done+receipt.written',
    'journal.done+receipt.flushed',
  ])
  for (const { step, stateDir, world: left } of snapshots) {
    const before = [...left.applied]
    const life = host.open({ stateDir })
    await life.recover(fakeActions(left))
    expect(left.applied, step).toEqual(before)
    const receipts = readReceipts(life, host.identity)
    const last = states(receipts).at(-1)
    if (step === 'journal.received.before') expect(last).toBeUndefined()
    else expect(last, step).toBe(before.length > 0 ? 'verified' : 'failed:interrupted')
    // Nothing more comes of it in a third life.
    const third = host.open({ stateDir })
    await third.recover(fakeActions(left))
    expect(readReceipts(third, host.identity).length, step).toBe(receipts.length)
  }
})
