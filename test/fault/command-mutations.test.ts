/** No command that was altered, replayed, re-targeted, put out of order or signed by the wrong key is ever obeyed. */
import { COMMAND_PAYLOAD_TYPE, type Command, REFUSALS, type Refusal } from '@firebreak/shared/commands/command.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import { expect, it } from 'vitest'
import { fakeActions, OrderedHost } from '../../agent/src/orders/ordered-host.fake.ts'

const ROUNDS = 100_000
const SEED = Number(process.env['FIREBREAK_FAULT_SEED'] ?? 20_261_101)
/** L of RFC 8032, 5.1, little endian. */
const GROUP_ORDER = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')
const isolateArgs = { hold_s: 3_600, on_controller_loss: 'hold' }

it(`of ${ROUNDS.toLocaleString('en')} wrong commands (seed ${SEED}) none is obeyed, and every reason to refuse is met`, async () => {
  const random = seeded(SEED)
  const host = new OrderedHost({
    ceiling: 'max_per_hour: { isolate-host: 1000 }\nisolate_host: { longest_s: 86400 }\n',
  })
  await host.orders.recover(fakeActions(host.world))
  const counts = new Map<Refusal, number>()
  const expected: string[] = []
  let rounds = 0

  const mustRefuse = (bytes: Uint8Array, code?: Refusal) => {
    const admission = host.receive(bytes)
    rounds++
    if (admission.outcome !== 'refused' || (code !== undefined && admission.code !== code))
      throw new Error(`round ${rounds}: ${JSON.stringify(admission)} instead of ${code ?? 'a refusal'}`)
    counts.set(admission.code, (counts.get(admission.code) ?? 0) + 1)
  }
  const mustObey = async () => {
    const body = host.body('isolate-host', isolateArgs, { seq: host.orders.position().seq + 1, lease: 3 })
    const envelope = host.sealed(body)
    expect(host.receive(envelope)).toMatchObject({ outcome: 'received' })
    expected.push(body.cmd_id)
    await host.settle()
    return envelope
  }
  /** The next command of this host, right but for `change`. */
  const next = (change: Partial<Command> = {}) =>
    host.body('isolate-host', isolateArgs, { lease: 3, seq: host.orders.position().seq + 1, ...change })

  const obeyed = [await mustObey()]
  let pool = Array.from({ length: 16 }, () => host.sealed(next()))

  const whole: readonly (() => void)[] = [
    () =>
      mustRefuse(
        host.sealed(next({ agent_id: other(random, 'abcdefghijklmnopqrstuvwxyz234567', 26) })),
        'wrong_audience',
      ),
    () => mustRefuse(host.sealed(next({ session: other(random, '0123456789abcdef', 64) })), 'wrong_session'),
    () => mustRefuse(host.sealed(next({ deployment_id: '3d9f4c1e-0000-4000-8000-00000000000f' })), 'wrong_deployment'),
    () => mustRefuse(host.sealed(next({ lease: random(3) })), 'stale_lease'),
    () => mustRefuse(host.sealed(next({ seq: 1 + random(host.orders.position().seq) })), 'replayed'),
    () =>
      mustRefuse(host.sealed(next({ seq: host.orders.position().seq + 2 ** 20 + 1 + random(1_000) })), 'sequence_jump'),
    () => mustRefuse(host.sealed(next({ lease: 2 ** 22 + random(1_000) })), 'sequence_jump'),
    () => mustRefuse(obeyed[random(obeyed.length)] ?? Buffer.alloc(0), 'replayed'),
    () => mustRefuse(host.sealed(next(), [host.keys.stranger]), 'unknown_key'),
    () => mustRefuse(host.sealed(next(), [host.keys.gateway]), 'key_without_right'),
    () => mustRefuse(host.sealed(next(), [host.keys.revoked]), 'key_without_right'),
    () => mustRefuse(host.sealed(next(), [host.keys.releaser]), 'key_without_right'),
    () => mustRefuse(host.sealed(next(), [host.keys.operator]), 'key_without_right'),
    () => mustRefuse(withKeyId(host.sealed(next(), [host.keys.stranger]), host.keys.command.kid), 'bad_signature'),
    () => mustRefuse(swapped(pool[random(16)], pool[random(16)]), undefined),
    () => mustRefuse(malleable(pool[random(16)]), 'bad_signature'),
    () => mustRefuse(host.sealedBytes(strange(JSON.stringify(next()), random)), undefined),
    () => mustRefuse(host.sealed({ ...next(), extra: 1 } as Command), 'bad_schema'),
    () => mustRefuse(host.sealed({ ...next(), type: 'format-disk' as 'isolate-host' }), 'bad_schema'),
    () => mustRefuse(host.sealed({ ...next(), ttl_s: 301 }), 'bad_schema'),
    () => mustRefuse(Buffer.alloc(64 * 1024 + 1 + random(100), 0x20), 'too_large'),
  ]
  // These use a number up and so write to the disk: fewer of them.
  const judged: readonly (() => void)[] = [
    () => mustRefuse(host.sealed(next({ issued_mono_ms: sinceHandshake(host) + 60_000 })), 'expired'),
    () => mustRefuse(host.sealed({ ...next(), args: { hold_s: 29, on_controller_loss: 'hold' } }), 'bad_schema'),
    () => mustRefuse(host.sealed({ ...next(), args: { hold_s: 86_401, on_controller_loss: 'hold' } }), 'above_ceiling'),
    () =>
      mustRefuse(
        host.sealed(
          host.body(
            'kill-process',
            { pid: process.pid, tree: false },
            { lease: 3, seq: host.orders.position().seq + 1 },
          ),
        ),
        'above_ceiling',
      ),
  ]

  for (;;) {
    if (rounds >= ROUNDS) break
    const draw = random(1_000)
    if (draw < 880) mustRefuse(damaged(pool[random(16)] ?? Buffer.alloc(0), random))
    else if (draw < 997) whole[random(whole.length)]?.()
    else judged[random(judged.length)]?.()
    // A good one now and then: the host goes on obeying what is right.
    if (rounds % 5_000 === 0) {
      obeyed.push(await mustObey())
      pool = Array.from({ length: 16 }, () => host.sealed(next()))
    }
  }

  await host.clock.advance(400_000)
  mustRefuse(host.sealed(next({ issued_mono_ms: 0 })), 'expired')
  for (const code of ['unsupported', 'precondition_failed', 'conflict'] as const) {
    host.world.checkRefusal = code
    expect(host.receive(host.sealed(next()))).toMatchObject({ outcome: 'received' })
    await host.settle()
    expect(host.receipts().at(-1)).toMatchObject({ state: 'refused', code })
    counts.set(code, 1)
  }
  host.world.checkRefusal = undefined
  const strict = new OrderedHost({
    ceiling: 'max_per_hour: { isolate-host: 0 }\n',
    file: { expires_at: '2026-01-01T00:01:00Z' },
  })
  await strict.orders.recover(fakeActions(strict.world))
  expect(strict.receive(strict.isolate())).toMatchObject({ code: 'rate_limited' })
  counts.set('rate_limited', 1)
  await strict.clock.advance(60_000)
  expect(strict.receive(strict.isolate({ issued_mono_ms: 60_000 }))).toMatchObject({ code: 'trust_expired' })
  counts.set('trust_expired', 1)

  expect(host.world.applied).toEqual(expected)
  expect(strict.world.applied).toEqual([])
  expect([...counts.keys()].sort()).toEqual([...REFUSALS].sort())
}, 180_000)

function sinceHandshake(host: OrderedHost): number {
  return host.clock.monotonic() - host.session.startedAt
}

/** One to three changes of bytes: bits flipped, bytes set, cut, doubled or moved. Never the same bytes. */
function damaged(envelope: Buffer, random: Random): Buffer {
  const bytes = Buffer.from(envelope)
  const at = random(bytes.length)
  switch (random(6)) {
    case 0:
      return bytes.subarray(0, at)
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))])
    case 2:
      return Buffer.concat([bytes.subarray(0, at + 1), bytes.subarray(at)])
    default:
      for (let i = random(3); i >= 0; i--) {
        const place = random(bytes.length)
        bytes[place] = (bytes[place] ?? 0) ^ (1 << random(8))
      }
      if (bytes.equals(envelope)) bytes[at] = (bytes[at] ?? 0) ^ 1
      return bytes
  }
}

/** Payloads that parsers disagree about, signed by the right key. */
function strange(payload: string, random: Random): Buffer {
  const forms: readonly (() => Buffer)[] = [
    () => Buffer.from(payload.replace('{', '{"v":1,')),
    () => Buffer.from(payload.replace('{', '{"__proto__":{"v":1},')),
    () => Buffer.from(payload.replace('"lease":3', '"lease":3.5')),
    () => Buffer.from(payload.replace('"seq":', '"seq":9007199254740993,"x":')),
    () => Buffer.concat([Buffer.from(payload.slice(0, -1)), Buffer.of(0xff), Buffer.from('}')]),
    () => Buffer.from(payload.replace('"args":{', `"args":{"deep":${'['.repeat(40)}${']'.repeat(40)},`)),
    () => Buffer.from(`\ufeff${payload}`),
    () => Buffer.from(`${payload}{}`),
    () => Buffer.from(payload.replaceAll('"', "'")),
    () => Buffer.alloc(0),
  ]
  return forms[random(forms.length)]?.() ?? Buffer.alloc(0)
}

function read(envelope: Buffer | undefined): Envelope {
  return JSON.parse((envelope ?? Buffer.alloc(0)).toString('utf8')) as Envelope
}

function withKeyId(envelope: Buffer, keyid: string): Buffer {
  const { payload, signatures } = read(envelope)
  return Buffer.from(
    JSON.stringify({ payloadType: COMMAND_PAYLOAD_TYPE, payload, signatures: [{ ...signatures[0], keyid }] }),
  )
}

/** The payload of one command under the signature of another, or with a doubled signature list. */
function swapped(first: Buffer | undefined, second: Buffer | undefined): Buffer {
  const a = read(first)
  const b = read(second)
  const payload =
    a.payload === b.payload ? a.payload.replace(/^./, (letter) => (letter === 'e' ? 'f' : 'e')) : a.payload
  return Buffer.from(JSON.stringify({ ...a, payload, signatures: b.signatures }))
}

/** The same signature with S + L for S: holds under a careless verifier (RFC 8032, 8.4). */
function malleable(envelope: Buffer | undefined): Buffer {
  const { signatures, ...rest } = read(envelope)
  const sig = Buffer.from(signatures[0]?.sig ?? '', 'base64')
  let carry = 0
  for (let i = 0; i < 32; i++) {
    const sum = (sig[32 + i] ?? 0) + (GROUP_ORDER[i] ?? 0) + carry
    sig[32 + i] = sum & 0xff
    carry = sum >> 8
  }
  return Buffer.from(JSON.stringify({ ...rest, signatures: [{ ...signatures[0], sig: sig.toString('base64') }] }))
}

function other(random: Random, alphabet: string, length: number): string {
  return Array.from({ length }, () => alphabet[random(alphabet.length)]).join('')
}

type Random = (below: number) => number

/** Numbers below `below` (mulberry32), the same for the same seed. */
function seeded(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
