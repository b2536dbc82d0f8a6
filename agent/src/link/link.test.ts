import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { RECEIPT_PAYLOAD_TYPE } from '@firebreak/shared/commands/command.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Envelope, seal } from '@firebreak/shared/trust/dsse.ts'
import { CLOSE, WIRE } from '@firebreak/shared/wire/limits.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { afterEach, expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { readHostFacts } from '../facts/host-facts.ts'
import { readBootId, readIdentity } from '../identity/identity.ts'
import { openTrustStore } from '../identity/trust-store.ts'
import { silentLog } from '../log.ts'
import { openAddressBook } from './addresses.ts'
import { makeCertificate } from './certificate.fake.ts'
import { FakeController, makeKeys } from './controller.fake.ts'
import { enrol } from './enrol.ts'
import { createLink, type Link, type LinkDeps } from './link.ts'
import type { Outbox } from './session.ts'
import { openSpool, type Spool } from './spool/spool.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const noReceipts: Outbox = { resume() {}, after: () => [], acked() {}, onNew() {}, onAgain() {} }

async function controller(options: ConstructorParameters<typeof FakeController>[0] = {}): Promise<FakeController> {
  const made = await new FakeController(options).start()
  closers.push(() => made.stop())
  return made
}

interface Host {
  readonly link: Link
  readonly spool: Spool
  readonly commands: Buffer[]
  readonly stateDir: string
  readonly trust: LinkDeps['trust']
}

async function joined(there: FakeController): Promise<string> {
  const stateDir = temporaryFolder()
  const result = await enrol(
    { controller: there.url, joinString: there.joinString, stateDir, facts: readHostFacts() },
    { clock: systemClock, addresses: openAddressBook({ log: silentLog, stateDir }) },
  )
  expect(result).toMatchObject({ ok: true })
  return stateDir
}

function connect(stateDir: string, change: Partial<LinkDeps> = {}): Host {
  const identity = readIdentity(stateDir)
  const trust = openTrustStore(stateDir)
  if (!identity.ok || !trust.ok) throw new Error('not joined')
  const spool =
    change.spool ??
    openSpool(
      { clock: systemClock, log: silentLog, folder: join(stateDir, 'spool') },
      { max_bytes: 16 * MiB, segment_bytes: MiB, max_age_hours: 72, min_free_percent: 0 },
    )
  const commands: Buffer[] = []
  const link = createLink({
    identity: identity.value,
    trust: trust.value,
    clock: systemClock,
    log: silentLog,
    spool,
    outbox: noReceipts,
    addresses: openAddressBook({ log: silentLog, stateDir }),
    configured: [],
    reconnectMinMs: 20,
    reconnectMaxMs: 50,
    statusIntervalMs: 60_000,
    hello: () => ({
      boot_id: readBootId(),
      facts: readHostFacts(),
      command: { lease: 0, seq: 0 },
      receipt_seq: 0,
      streams: [...spool.counts()],
    }),
    status: () => ({
      t: 'status',
      streams: [...spool.counts()],
      collectors: [],
      containment: { phase: 'none', drift_count: 0 },
      ceiling_sha256: '0'.repeat(64),
    }),
    onCommand: (envelope) => commands.push(Buffer.from(envelope)),
    onTrust() {},
    ...change,
  })
  link.start()
  closers.push(async () => {
    await link.stop()
    await spool.close()
  })
  return { link, spool, commands, stateDir, trust: trust.value }
}

function event(message: string): Event {
  return {
    '@timestamp': new Date().toISOString(),
    event: { category: ['process'], type: ['start'], action: 'process-started' },
    message,
  }
}

it('delivers every event once and in order, and frees the disk when they are stored', async () => {
  const there = await controller()
  const { spool } = connect(await joined(there))
  for (let i = 1; i <= 5_000; i++) spool.event(event(`e${i}`))
  await there.until(() => there.stored.size === 5_000)
  expect([...there.stored.values()]).toEqual(Array.from({ length: 5_000 }, (_, i) => `e${i + 1}`))
  await expect
    .poll(() => spool.counts().find((count) => count.class === 'process'))
    .toMatchObject({ produced: 5_000, spooled: 0 })
})

it('brings a lone event to the controller within a few milliseconds', async () => {
  const there = await controller()
  const { spool } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  const times: number[] = []
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setTimeout(resolve, 30))
    const start = performance.now()
    spool.event(event(`lone ${i}`))
    await there.until(() => there.stored.size === i + 1)
    times.push(performance.now() - start)
  }
  times.sort((a, b) => a - b)
  expect(times[10]).toBeLessThan(25)
})

it('has at most eight batches on the way, and goes on when they are acked', async () => {
  const there = await controller()
  there.behaviour.acks = false
  const { spool } = connect(await joined(there))
  for (let i = 1; i <= 20_000; i++) spool.event(event(`e${i} ${'x'.repeat(200)}`))
  await there.until(() => there.stored.size > 0)
  await new Promise((resolve) => setTimeout(resolve, 500))
  const held = there.stored.size
  expect(held).toBeLessThanOrEqual(8_000)
  there.behaviour.acks = true
  for (const [place, seq] of there.cursors) {
    const [, epoch] = place.split('|')
    there.send({ t: 'ack', class: 'process', epoch: epoch ?? '', seq })
  }
  await there.until(() => there.stored.size === 20_000)
})

it('has no more on the way than one batch past its credit, and goes on when the credit grows', async () => {
  const there = await controller()
  there.behaviour.acks = false
  there.behaviour.credit = { events: 1_500, bytes: 4_000_000 }
  const { spool } = connect(await joined(there))
  for (let i = 1; i <= 6_000; i++) spool.event(event(`e${i}`))
  await there.until(() => there.stored.size > 0)
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(there.stored.size).toBeLessThan(2_500)
  there.send({ t: 'credit', credit: { events: 8_000, bytes: 4_000_000 } })
  await there.until(() => there.stored.size === 6_000)
})

it('sends again after a broken connection what was not acked, under the same numbers', async () => {
  const there = await controller()
  there.behaviour.acks = false
  const { spool } = connect(await joined(there))
  for (let i = 1; i <= 100; i++) spool.event(event(`e${i}`))
  await there.until(() => there.stored.size === 100)
  there.cursors.clear()
  const before = new Map(there.stored)
  there.stored.clear()
  there.behaviour.acks = true
  there.live.socket.terminate()
  await there.until(() => there.stored.size === 100)
  expect(there.stored).toEqual(before)
})

it('does not say a byte of HTTP to a controller whose key is not pinned', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  const { port } = there
  await there.stop()
  const impostor = new FakeController({ keys: there.keys, certificate: makeCertificate() })
  impostor.trustChain = there.trustChain
  await impostor.start(port)
  closers.push(() => impostor.stop())
  const { link } = connect(stateDir)
  await expect.poll(() => link.state().lastProblem, { timeout: 5_000 }).toContain('does not pin')
  expect(impostor.connections).toBe(0)
})

it('does not show itself to a controller that cannot sign with a gateway key on this very channel', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  there.preAuth.length = 0
  there.behaviour.challengeKey = makeKeys().gateway
  const { link } = connect(stateDir)
  await expect.poll(() => link.state().lastProblem, { timeout: 5_000 }).toContain('did not prove')
  expect(there.preAuth.map((raw) => raw.toString('utf8')).every((text) => text.includes('"t":"hello"'))).toBe(true)
})

it('follows the trust file one version at a time, also inside a session, and remembers it', async () => {
  const there = await controller()
  const { stateDir, trust } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  there.send({ t: 'trust_update', envelope: there.rotate({}) })
  await expect.poll(() => trust.current().file.version).toBe(2)
  const skipped = there.rotate({})
  const third = there.rotate({})
  there.send({ t: 'trust_update', envelope: third })
  there.send({ t: 'trust_update', envelope: forgedBy(there, skipped) })
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(trust.current().file.version).toBe(2)
  there.live.socket.terminate()
  await expect.poll(() => trust.current().file.version, { timeout: 5_000 }).toBe(4)
  const again = openTrustStore(stateDir)
  expect(again.ok && again.value.current().file.version).toBe(4)
})

/** The same file, signed by a key that is no root. */
function forgedBy(there: FakeController, envelope: Envelope): Envelope {
  const other = new FakeController({ keys: { ...there.keys, root: makeKeys().root } })
  return { ...envelope, signatures: other.trustChain[0]?.signatures ?? [] }
}

it('tells of a trust file that is newer, in the handshake or inside a session', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  there.rotate({})
  let told = 0
  connect(stateDir, { onTrust: () => told++ })
  await there.until(() => there.sessions.length === 1)
  await expect.poll(() => told).toBe(1)
  there.send({ t: 'trust_update', envelope: there.rotate({}) })
  await expect.poll(() => told).toBe(2)
})

it('does not take a connection for alive that broke down in its first moment', async () => {
  const there = await controller()
  const { link } = connect(await joined(there), {
    reconnectMinMs: 60_000,
    reconnectMaxMs: 60_000,
    random: () => 1,
    status() {
      throw new Error('the disk cannot be read')
    },
  })
  await there.until(() => there.sessions.length === 1)
  await expect.poll(() => link.state().lastProblem).toContain('could not go on')
  expect(link.state().connected).toBe(false)
})

it('leaves a controller whose key the newest trust file does not pin any more', async () => {
  const there = await controller()
  const { link } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  there.send({ t: 'trust_update', envelope: there.rotate({ tls_spki_sha256: [makeCertificate().spki] }) })
  await expect.poll(() => link.state().lastProblem, { timeout: 5_000 }).toContain('does not pin')
  expect(link.state().connected).toBe(false)
})

it('confirms over the live connection, and only by a gateway key', async () => {
  const there = await controller()
  const { link } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  expect(await link.confirm(2_000)).toMatchObject({ ok: true })
  there.behaviour.confirms = 'forged'
  expect(await link.confirm(2_000)).toMatchObject({ ok: false, code: 'bad_signature' })
  there.behaviour.confirms = 'silent'
  expect(await link.confirm(300)).toMatchObject({ ok: false, code: 'unreachable' })
})

it('connects again to confirm, and says unreachable in time when nobody is there', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  const { link } = connect(stateDir, { reconnectMinMs: 60_000, reconnectMaxMs: 3_600_000, random: () => 1 })
  await there.until(() => there.sessions.length === 1)
  const { port } = there
  await there.stop()
  await expect.poll(() => link.state().connected).toBe(false)
  const start = performance.now()
  expect(await link.confirm(700)).toMatchObject({ ok: false, code: 'unreachable' })
  expect(performance.now() - start).toBeLessThan(1_500)
  await there.start(port)
  expect(await link.confirm(5_000)).toMatchObject({ ok: true })
})

it('leaves the door open for everything the trust file names and for the peer it talks to', async () => {
  const there = await controller({ file: { controllers: ['127.0.0.9:8443', '[::1]:8443', 'nowhere.invalid:1'] } })
  const { link } = connect(await joined(there), {
    addresses: openAddressBook({
      log: silentLog,
      stateDir: temporaryFolder(),
      lookup: () => Promise.reject(new Error('no DNS')),
    }),
  })
  await there.until(() => there.sessions.length === 1)
  const found = await link.controllers()
  expect(found).toEqual(
    expect.arrayContaining([
      { ip: '127.0.0.1', port: there.port },
      { ip: '127.0.0.9', port: 8443 },
      { ip: '::1', port: 8443 },
    ]),
  )
  expect(found.length).toBe(3)
})

it('finds its controller by the last known address when DNS is gone', async () => {
  const stateDir = temporaryFolder()
  const target = { host: 'controller.example', port: 8443 }
  const first = openAddressBook({ log: silentLog, stateDir, lookup: async () => [{ address: '192.0.2.7' }] })
  expect(await first.resolve(target)).toEqual([{ ip: '192.0.2.7', port: 8443 }])
  const later = openAddressBook({ log: silentLog, stateDir, lookup: () => Promise.reject(new Error('no DNS')) })
  expect(await later.resolve(target)).toEqual([{ ip: '192.0.2.7', port: 8443 }])
})

it('hands commands over with the very bytes that came', async () => {
  const there = await controller()
  const { commands } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  const envelope = there.command('release-host', {})
  there.sendCommand(envelope)
  await expect.poll(() => commands.length).toBe(1)
  expect(commands[0]?.equals(envelope)).toBe(true)
})

it('closes with a code on frames that no controller sends, and comes back', async () => {
  const there = await controller()
  const { link } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  const bad: (Buffer | string)[] = [
    'text',
    Buffer.alloc(0),
    Buffer.of(9, 9, 9),
    Buffer.from('\u0001{"t":"nonsense"}'),
    Buffer.from('\u0001{"t":"confirmed","t":"confirmed"}'),
    Buffer.concat([Buffer.of(2), Buffer.alloc(1_000, 0xff)]),
    Buffer.from('\u0001{"t":"enrolled","agent_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}'),
    Buffer.from(`\u0001{"t":"ack","epoch":"${link.state().session?.slice(0, 8)}","class":"process","seq":1}`),
  ]
  for (const frame of bad) {
    await there.until(() => there.sessions.length === 1)
    const closed = new Promise<number>((resolve) => there.live.socket.once('close', resolve))
    there.live.socket.send(frame)
    expect(await closed).toBe(CLOSE.malformed)
  }
})

it('closes when an ack names a number that was never sent', async () => {
  const there = await controller()
  const { spool } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  const closed = new Promise<number>((resolve) => there.live.socket.once('close', resolve))
  there.send({ t: 'ack', epoch: spool.epoch, class: 'file', seq: 5 })
  expect(await closed).toBe(CLOSE.malformed)
})

it('waits long before it comes back when another host has taken over with the same key', async () => {
  const there = await controller()
  const { link } = connect(await joined(there))
  await there.until(() => there.sessions.length === 1)
  there.live.socket.close(CLOSE.replaced, 'another connection')
  await expect.poll(() => link.state().connected).toBe(false)
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(link.state()).toMatchObject({ connected: false, lastProblem: `${CLOSE.replaced} another connection` })
})

it('names the refusal of a controller that does not know it', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  there.agents.clear()
  const { link } = connect(stateDir)
  await expect.poll(() => link.state().lastProblem, { timeout: 5_000 }).toBe('not known')
})

/** Receipts that are only numbers, signed by this host. */
function outboxOf(stateDir: string, count: number): Outbox & { readonly ackedUpTo: () => number } {
  const identity = readIdentity(stateDir)
  if (!identity.ok) throw new Error(identity.why)
  const { key, agentId } = identity.value
  const all = Array.from({ length: count }, (_, i) => {
    const payload = Buffer.from(JSON.stringify({ agent_id: agentId, receipt_seq: i + 1 }))
    return { seq: i + 1, envelope: seal(RECEIPT_PAYLOAD_TYPE, payload, [key]) }
  })
  let acked = 0
  return {
    ...noReceipts,
    after: (seq) => all.filter((receipt) => receipt.seq > Math.max(seq, acked)),
    acked(seq) {
      acked = Math.max(acked, seq)
    },
    ackedUpTo: () => acked,
  }
}

it('sends receipts in order, again after a lost connection, and never more at once than a controller takes', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  const outbox = outboxOf(stateDir, 100)
  there.behaviour.receiptAcks = false
  connect(stateDir, { outbox })
  await there.until(() => there.receipts.length > 0)
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(there.receipts.length).toBe(32)
  there.receipts.length = 0
  there.behaviour.receiptAcks = true
  there.live.socket.terminate()
  await there.until(() => there.receipts.length === 100)
  expect(there.receipts.map((receipt) => receipt.receipt_seq)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  await expect.poll(() => outbox.ackedUpTo()).toBe(100)
})

it('lets receipts and confirmations pass a full backlog: no more than the window of batches is ever before them', async () => {
  const there = await controller()
  const stateDir = await joined(there)
  const spool = openSpool(
    { clock: systemClock, log: silentLog, folder: join(stateDir, 'spool') },
    { max_bytes: 128 * MiB, segment_bytes: 4 * MiB, max_age_hours: 72, min_free_percent: 0 },
  )
  // 64 MB that do not get smaller on the wire.
  for (let i = 0; i < 2_200; i++) {
    spool.event(event(randomBytes(22_500).toString('base64')))
    if (i % 100 === 0) spool.flush()
  }
  await spool.sync()
  const outbox = outboxOf(stateDir, 20)
  let released = 0
  let ring = () => {}
  const slowly: Outbox = {
    ...outbox,
    after: (seq) => outbox.after(seq).filter((receipt) => receipt.seq <= released),
    onNew(listener) {
      ring = listener
    },
  }
  const { link } = connect(stateDir, { spool, outbox: slowly })
  await there.until(() => there.frames.includes('batch'))
  const before: number[] = []
  const times: number[] = []
  while (released < 20) {
    const batches = there.frames.filter((frame) => frame === 'batch').length
    const start = performance.now()
    released++
    ring()
    await there.until(() => there.receipts.length === released)
    times.push(performance.now() - start)
    const at = there.frames.lastIndexOf('receipt')
    before.push(there.frames.slice(0, at).filter((frame) => frame === 'batch').length - batches)
    const confirmed = await link.confirm(2_000)
    expect(confirmed.ok).toBe(true)
  }
  // It was measured while there was a backlog, and not after it.
  expect(spool.hasUnsent('process')).toBe(true)
  expect(Math.max(...before)).toBeLessThanOrEqual(WIRE.maxBatchesInFlight)
  expect(times.sort((a, b) => a - b)[10]).toBeLessThan(500)
}, 30_000)
