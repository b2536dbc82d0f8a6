import { randomUUID } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readHostFacts } from '@firebreak/agent/src/facts/host-facts.ts'
import { readBootId, readIdentity } from '@firebreak/agent/src/identity/identity.ts'
import { openTrustStore } from '@firebreak/agent/src/identity/trust-store.ts'
import { openAddressBook } from '@firebreak/agent/src/link/addresses.ts'
import { enrol } from '@firebreak/agent/src/link/enrol.ts'
import { createLink, type Link } from '@firebreak/agent/src/link/link.ts'
import { openSpool, type Spool } from '@firebreak/agent/src/link/spool/spool.ts'
import { silentLog } from '@firebreak/agent/src/log.ts'
import { systemClock } from '@firebreak/shared/clock.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'

let dir: string
let controller: ControllerProcess
let joinString: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-copies-'))
  controller = await ControllerProcess.start(join(dir, 'controller'), {})
  joinString = await controller.ask<string>('join')
}, 60_000)
afterAll(async () => {
  await controller.kill()
  rmSync(dir, { recursive: true, force: true })
})

/** The spool and the link of a real agent on this folder, as one life of it. */
class Machine {
  readonly agentId: string
  readonly spool: Spool
  readonly link: Link

  constructor(stateDir: string) {
    const identity = readIdentity(stateDir)
    const trust = openTrustStore(stateDir)
    if (!identity.ok || !trust.ok) throw new Error('not joined')
    this.agentId = identity.value.agentId
    this.spool = openSpool(
      { clock: systemClock, log: silentLog, folder: join(stateDir, 'spool') },
      { max_bytes: 16 * MiB, segment_bytes: MiB, max_age_hours: 72, min_free_percent: 0 },
    )
    const { spool } = this
    const now = systemClock.now()
    const last = spool.lastAlive
    const run = {
      id: randomUUID(),
      started_ms: now,
      booted_ms: now - 86_400_000,
      ...(last === undefined ? {} : { last_alive_ms: last }),
    }
    this.link = createLink({
      identity: identity.value,
      trust: trust.value,
      clock: systemClock,
      log: silentLog,
      spool,
      outbox: { resume() {}, after: () => [], acked() {}, onNew() {}, onAgain() {} },
      addresses: openAddressBook({ log: silentLog, stateDir }),
      configured: [],
      reconnectMinMs: 20,
      reconnectMaxMs: 50,
      statusIntervalMs: 500,
      hello: () => ({
        boot_id: readBootId(),
        facts: readHostFacts(),
        command: { lease: 0, seq: 0 },
        receipt_seq: 0,
        streams: [...spool.counts()],
        run,
      }),
      status: () => ({
        t: 'status',
        at_ms: systemClock.now(),
        streams: [...spool.counts(), ...spool.closed()],
        renewals: [...spool.renewals],
        collectors: [],
        containment: { phase: 'none', drift_count: 0 },
        ceiling_sha256: '0'.repeat(64),
      }),
      onCommand() {},
      onTrust() {},
    })
    this.link.start()
  }

  say(count: number): void {
    for (let i = 0; i < count; i++) this.spool.event(processEvent(i, 'copied'))
  }

  async isDelivered(): Promise<void> {
    await expect
      .poll(() => this.spool.counts().find((count) => count.class === 'process'), { timeout: 15_000 })
      .toMatchObject({ spooled: 0 })
  }

  async end(): Promise<void> {
    await this.link.stop()
    await this.spool.close()
  }
}

async function joined(name: string): Promise<string> {
  const stateDir = join(dir, name)
  const url = `https://127.0.0.1:${controller.gatewayPort}`
  const joined = await enrol(
    { controller: url, joinString, stateDir, facts: readHostFacts() },
    { clock: systemClock, addresses: openAddressBook({ log: silentLog, stateDir }) },
  )
  if (!joined.ok) throw new Error(joined.why)
  return stateDir
}

const storedOf = async (agentId: string) =>
  new Map(
    (await controller.ask<{ agent_id: string; epoch: string; class: string; stored: number }[]>('streams'))
      .filter((row) => row.agent_id === agentId && row.class === 'process')
      .map((row) => [row.epoch, row.stored]),
  )
const alarmsOf = async (agentId: string) =>
  (await controller.ask<{ rule_id: string; event_id: string }[]>('signals'))
    .filter(({ event_id }) => event_id.startsWith(agentId))
    .map(({ rule_id }) => rule_id)

it('keeps the events of a machine and of its copy apart, loses none of either, and names the key that both use', async () => {
  const original = await joined('original')
  const before = new Machine(original)
  before.say(20)
  await before.isDelivered()
  const { epoch } = before.spool
  await before.end()
  const copy = join(dir, 'copy')
  cpSync(original, copy, { recursive: true })

  const a = new Machine(original)
  a.say(5)
  await a.isDelivered()
  // While the first is connected; both have given the same numbers to events of their own.
  const b = new Machine(copy)
  b.say(8)
  await b.isDelivered()
  a.say(3)
  await expect.poll(() => a.link.state().connected, { timeout: 10_000 }).toBe(false)
  await b.end()
  await a.end()
  const again = new Machine(original)
  await again.isDelivered()
  expect(again.spool.epoch).toBe(epoch)
  expect(b.spool.epoch).not.toBe(epoch)
  expect(await storedOf(a.agentId)).toEqual(
    new Map([
      [epoch, 28],
      [b.spool.epoch, 8],
    ]),
  )
  await expect.poll(() => alarmsOf(a.agentId), { timeout: 10_000 }).toEqual(['host.cloned'])
  await again.end()
}, 60_000)

it('loses nothing of a host whose snapshot was put back, and says that it was', async () => {
  const stateDir = await joined('reverted')
  const first = new Machine(stateDir)
  first.say(10)
  await first.isDelivered()
  await first.end()
  const snapshot = join(dir, 'snapshot')
  cpSync(stateDir, snapshot, { recursive: true })
  const hourAgo = Date.now() / 1_000 - 3_600
  utimesSync(join(snapshot, 'spool', 'alive'), hourAgo, hourAgo)
  const future = new Machine(stateDir)
  future.say(7)
  await future.isDelivered()
  await expect.poll(() => future.link.state().connected).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 700)) // one more word about itself
  await future.end()

  rmSync(stateDir, { recursive: true })
  cpSync(snapshot, stateDir, { recursive: true })
  utimesSync(join(stateDir, 'spool', 'alive'), hourAgo, hourAgo)
  const back = new Machine(stateDir)
  back.say(12)
  await back.isDelivered()
  expect(await storedOf(back.agentId)).toEqual(
    new Map([
      [first.spool.epoch, 17],
      [back.spool.epoch, 12],
    ]),
  )
  await expect.poll(() => alarmsOf(back.agentId), { timeout: 10_000 }).toEqual(['host.reverted'])
  await back.end()
}, 60_000)
