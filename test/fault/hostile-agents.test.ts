import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as tlsConnect } from 'node:tls'
import { zstdCompressSync } from 'node:zlib'
import { encodeBatch } from '@firebreak/shared/wire/frame.ts'
import { CLOSE, WIRE } from '@firebreak/shared/wire/limits.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { connect, SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'

let dir: string
let controller: ControllerProcess
let at: { readonly host: string; readonly port: number }
let joinString: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-hostile-'))
  controller = await ControllerProcess.start(dir, { 'gateway.connections_per_address_per_s': 1_000 }, ['--expose-gc'])
  at = { host: '127.0.0.1', port: controller.gatewayPort }
  joinString = await controller.ask<string>('join')
}, 60_000)
afterAll(async () => {
  await controller.kill()
  rmSync(dir, { recursive: true, force: true })
})

async function member(name = 'h'): Promise<SimulatedAgent> {
  const agent = new SimulatedAgent(name)
  await agent.enrol(at, joinString)
  await agent.connect(at)
  return agent
}

/** What a stranger hears last: the close code. */
async function strangerSays(frames: readonly (Uint8Array | string)[]): Promise<number> {
  const { socket } = await connect(at)
  const closed = new Promise<number>((resolve) => {
    socket.once('close', resolve)
  })
  for (const frame of frames) socket.send(frame)
  return closed
}

const control = (json: string) => Buffer.concat([Buffer.of(1), Buffer.from(json)])
const zipped = (bytes: Uint8Array) => Buffer.concat([Buffer.of(2), zstdCompressSync(bytes)])
const hello = JSON.stringify({ t: 'enrol_hello', v: 1, nonce: randomBytes(32).toString('base64') })

describe('whoever has not shown who they are', () => {
  it.each<[string, (Uint8Array | string)[], number]>([
    ['text', [hello], CLOSE.malformed],
    ['nothing at all', [new Uint8Array()], CLOSE.malformed],
    ['an unknown kind of frame', [Buffer.of(9, 1, 2)], CLOSE.malformed],
    ['a batch', [Buffer.concat([Buffer.of(3), randomBytes(200)])], CLOSE.malformed],
    ['a command', [Buffer.concat([Buffer.of(4), Buffer.from('{}')])], CLOSE.malformed],
    ['5 KiB', [control(`"${'x'.repeat(5_000)}"`)], CLOSE.too_large],
    ['a bomb', [zipped(Buffer.alloc(40_000_000))], CLOSE.too_large],
    ['broken compression', [Buffer.concat([Buffer.of(2), randomBytes(100)])], CLOSE.malformed],
    ['invalid UTF-8', [control('{"t":"').fill(0xff, 3)], CLOSE.malformed],
    ['deep JSON', [control('['.repeat(4_000))], CLOSE.malformed],
    ['a name twice', [control(`{"t":"enrol_hello","t":"enrol_hello","v":1,"nonce":"x"}`)], CLOSE.malformed],
    ['__proto__', [control('{"__proto__":{"t":"hello"}}')], CLOSE.malformed],
    ['a number that no double holds', [control('{"t":"proof","sig":9007199254740993}')], CLOSE.malformed],
    ['a proof before a hello', [control(JSON.stringify({ t: 'proof', sig: 'A'.repeat(88) }))], CLOSE.malformed],
    ['everything at once', [control(hello), control(hello), control(hello)], CLOSE.malformed],
  ])('is closed with a code for saying %s', async (_what, frames, code) => {
    expect(await strangerSays(frames)).toBe(code)
  })

  it('is cut off after 64 KiB, after 5 s of silence, and for another path or protocol', async () => {
    const started = performance.now()
    const silent = connect(at).then(
      ({ socket }) =>
        new Promise<number>((resolve) => {
          socket.once('close', () => resolve(performance.now() - started))
        }),
    )
    expect(await strangerSays([Buffer.alloc(200_000, 1)])).toBe(1006)
    const wrong = async (path: string, protocol: string) => {
      const socket = new WebSocket(`wss://127.0.0.1:${at.port}${path}`, [protocol], { rejectUnauthorized: false })
      return new Promise((resolve) => {
        socket.once('open', () => resolve('open'))
        socket.once('error', (error) => resolve(error.message))
      })
    }
    expect(await wrong('/api', WIRE.subprotocol)).toMatch(/404/)
    expect(await wrong(WIRE.path, 'chat')).toMatch(/404/)
    const old = await new Promise((resolve) => {
      const socket = tlsConnect({ ...at, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }, () => resolve('open'))
      socket.once('error', (error: Error & { code?: string }) => resolve(error.code))
    })
    expect(old).not.toBe('open')
    const waited = await silent
    expect(waited).toBeGreaterThan(WIRE.handshakeMs - 1_500)
    expect(waited).toBeLessThan(WIRE.handshakeMs + 10_000)
  }, 30_000)

  it('gets one host out of a one-use token, however many ask at once, and none out of a wrong one', async () => {
    const [prefix, token, root] = joinString.split('.')
    const other = [prefix, randomBytes(32).toString('base64url'), root].join('.')
    await expect(new SimulatedAgent('x').enrol(at, other)).rejects.toMatchObject({ code: 'bad_token' })
    const elsewhere = [prefix, token, randomBytes(32).toString('base64url')].join('.')
    await expect(new SimulatedAgent('x').enrol(at, elsewhere)).rejects.toMatchObject({ code: 'wrong_root' })
    const once = await controller.ask<string>('join-once')
    const tries = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) => new SimulatedAgent(`x-${i}`).enrol(at, once)),
    )
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const codes = tries.flatMap((one) => (one.status === 'rejected' ? [(one.reason as { code: string }).code] : []))
    // A busy controller cuts off who does not read its refusal in time.
    const refusals = new Set(codes)
    refusals.delete('closed_1006')
    expect(refusals).toEqual(new Set(['token_used_up']))
  }, 60_000)

  it('does not get in with the id of another host', async () => {
    const victim = await member('victim')
    const thief = new SimulatedAgent('thief')
    thief.trust = victim.trust
    Object.assign(thief, { agentId: victim.agentId })
    await expect(thief.connect(at)).rejects.toMatchObject({ code: 'bad_signature' })
    await expect(
      (async () => {
        const nobody = new SimulatedAgent('nobody')
        nobody.trust = victim.trust
        await nobody.connect(at)
      })(),
    ).rejects.toMatchObject({ code: 'unknown_agent' })
    expect(victim.isConnected()).toBe(true)
    victim.disconnect()
  })
})

describe('a member that breaks the rules', () => {
  const line = Buffer.from(JSON.stringify(processEvent(1, 'h')))
  const epoch = randomUUID()
  const header = (more: object = {}) => ({
    epoch,
    class: 'process' as const,
    first_seq: 1,
    last_seq: 1,
    count: 1,
    body_bytes: line.length + 1,
    gaps: [],
    ...more,
  })
  const batch = (agent: SimulatedAgent, more: object = {}, lines = [line]) =>
    encodeBatch(header(more), lines, agent.session ?? '', (message) => agent.key.sign(message))

  it.each<[string, (agent: SimulatedAgent) => Uint8Array | string, number]>([
    ['text', () => 'hello', CLOSE.malformed],
    [
      'a batch signed by nobody',
      (a) => encodeBatch(header(), [line], a.session ?? '', () => randomBytes(64)),
      CLOSE.unauthenticated,
    ],
    [
      'a batch of another connection',
      (a) => encodeBatch(header(), [line], 'ab'.repeat(32), (m) => a.key.sign(m)),
      CLOSE.unauthenticated,
    ],
    ['a batch with numbers that do not add up', (a) => batch(a, { last_seq: 9 }), CLOSE.malformed],
    ['a batch with another number of events', (a) => batch(a, { count: 2, last_seq: 2 }), CLOSE.malformed],
    ['a batch longer than it says', (a) => batch(a, { body_bytes: 10 }), CLOSE.too_large],
    ['a batch shorter than it says', (a) => batch(a, { body_bytes: 4_000_000 }), CLOSE.malformed],
    [
      'an event of 300 KB',
      (a) => {
        const long = Buffer.from(JSON.stringify({ ...processEvent(1, 'h'), message: 'x'.repeat(300_000) }))
        return batch(a, { body_bytes: long.length + 1 }, [long])
      },
      CLOSE.too_large,
    ],
    ['a frame of 600 KB', () => Buffer.alloc(600_000, 1), 1009],
    ['a bomb', () => zipped(Buffer.alloc(100_000_000)), CLOSE.too_large],
    ['a command', () => Buffer.concat([Buffer.of(4), Buffer.from('{}')]), CLOSE.malformed],
    ['hello again', () => control(hello), CLOSE.malformed],
    [
      'a receipt that is none',
      () =>
        control(
          JSON.stringify({
            t: 'receipt',
            envelope: { payloadType: 'x', payload: 'e30=', signatures: [{ keyid: 'k', sig: 'A'.repeat(88) }] },
          }),
        ),
      CLOSE.malformed,
    ],
  ])('is closed with a code for sending %s', async (_what, frame, code) => {
    const agent = await member()
    agent.socket?.send(frame(agent))
    await agent.closed()
    expect(agent.closeCode).toBe(code)
  })

  it('is closed for leaving out numbers, and the numbers stay where they were', async () => {
    const agent = await member()
    agent.sendFrame(batch(agent))
    await expect.poll(() => agent.acks.length).toBe(1)
    agent.sendFrame(batch(agent, { first_seq: 3, last_seq: 3 }))
    await agent.closed()
    expect(agent.closeCode).toBe(CLOSE.malformed)
    await agent.connect(at)
    agent.sendFrame(
      batch(agent, { first_seq: 1, last_seq: 2, count: 2, body_bytes: 2 * line.length + 2 }, [line, line]),
    )
    await expect.poll(() => agent.acks.at(-1)?.seq).toBe(2)
    agent.disconnect()
  })

  it('has its unsound events counted and not stored, deep ones too, and the sound ones between them stored', async () => {
    const agent = await member()
    const sound = processEvent(1, 'h')
    agent.produce('file', sound)
    agent.produceRaw('file', Buffer.from('['.repeat(250_000)))
    agent.produceRaw('file', Buffer.from('{"a":'.repeat(40_000)))
    agent.produceRaw('file', Buffer.from('not json'))
    agent.produceRaw('file', Buffer.from([0x22, 0xff, 0x22]))
    agent.produceRaw('file', Buffer.from(JSON.stringify({ ...sound, extra: 1 })))
    agent.produceRaw(
      'file',
      Buffer.from(JSON.stringify(sound).replace('bash', '__proto__').replace('"host":{', '"__proto__":{},"host":{')),
    )
    agent.produceRaw(
      'file',
      Buffer.from(JSON.stringify({ ...sound, message: '' }).replace('"message":""', String.raw`"message":"\ud800"`)),
    )
    agent.produceRaw('file', Buffer.from(JSON.stringify({ ...sound, '@timestamp': '2026-99-99T99:99:99Z' })))
    agent.produceRaw('file', Buffer.from(JSON.stringify({ ...sound, '@timestamp': '9999-01-01T00:00:00Z' })))
    agent.produce('file', { ...sound, message: String.raw`text with \ud800 in it, which is harmless` })
    agent.flush()
    await expect.poll(() => agent.isDrained()).toBe(true)
    const rows =
      await controller.ask<{ agent_id: string; stored: number; dropped: number; invalid: number }[]>('streams')
    expect(rows.find((row) => row.agent_id === agent.agentId)).toMatchObject({ stored: 2, dropped: 9, invalid: 9 })
    agent.disconnect()
  })

  it('is closed for a flood of messages, and for batches past its window', async () => {
    const agent = await member()
    for (let i = 0; i < 2_000; i++) agent.send({ t: 'confirm', nonce: randomBytes(32).toString('base64') })
    await agent.closed()
    expect(agent.closeCode).toBe(CLOSE.too_many)
  })

  it('takes the place of its older connection, and is named when that happens again and again', async () => {
    const first = await member('twin')
    const twin = new SimulatedAgent('twin')
    Object.assign(twin, { key: first.key, agentId: first.agentId, trust: first.trust })
    await twin.connect(at)
    await first.closed()
    expect(first.closeCode).toBe(CLOSE.replaced)
    for (let i = 0; i < 4; i++) {
      await first.connect(at)
      await twin.closed()
      await twin.connect(at)
      await first.closed()
    }
    await expect
      .poll(async () => (await controller.ask<{ rule_id: string }[]>('signals')).map(({ rule_id }) => rule_id), {
        timeout: 10_000,
      })
      .toContain('host.cloned')
    twin.disconnect()
  })

  it('is named when its numbers leave out events', async () => {
    const agent = await member('thin')
    for (let i = 0; i < 10; i++) agent.produce('process', processEvent(i, 'thin'))
    agent.flush()
    await expect.poll(() => agent.isDrained()).toBe(true)
    agent.sendStatus()
    agent.sendStatus(agent.counts().map((stream) => ({ ...stream, produced: stream.produced + 5 })))
    await expect
      .poll(
        async () =>
          (await controller.ask<{ rule_id: string; event_id: string }[]>('signals')).filter(({ event_id }) =>
            event_id.startsWith(agent.agentId),
          ),
        { timeout: 10_000 },
      )
      .toMatchObject([{ rule_id: 'accounting.unaccounted_events' }])
    agent.disconnect()
  })
})

describe('the controller under a flood', () => {
  it('serves the others, and its memory comes back', async () => {
    const good = await member('good')
    const rss = async () => (await controller.ask<{ rss: number }>('memory')).rss / 1e6
    const before = await rss()
    let peak = before
    for (let round = 0; round < 12; round++) {
      await Promise.allSettled([
        ...Array.from({ length: 10 }, () => strangerSays([Buffer.alloc(60_000, 2)])),
        ...Array.from({ length: 10 }, () => strangerSays([zipped(Buffer.alloc(8_000_000))])),
        ...Array.from({ length: 4 }, async () => {
          const agent = await member()
          agent.socket?.send(Buffer.alloc(500_000, 3))
          await agent.closed()
        }),
      ])
      peak = Math.max(peak, await rss())
      await good.confirm()
    }
    await sleep(1_000)
    const after = await rss()
    expect(peak - before).toBeLessThan(300)
    expect(after - before).toBeLessThan(100)
    process.stdout.write(
      `memory before, at the peak, after: ${[before, peak, after].map((mb) => mb.toFixed(0)).join(', ')} MB\n`,
    )
    good.disconnect()
  }, 120_000)
})
