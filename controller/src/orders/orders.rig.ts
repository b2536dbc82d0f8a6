/** Orders on real stores with hosts that are only a key and a connection, for tests. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  commandSchema,
  RECEIPT_PAYLOAD_TYPE,
  type Receipt,
} from '@firebreak/shared/commands/command.ts'
import { type AgentId, agentIdOf } from '@firebreak/shared/ids.ts'
import { encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { type Envelope, open, seal } from '@firebreak/shared/trust/dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { Registry } from 'prom-client'
import { type AuditLog, createAuditLog } from '../audit/audit-log.ts'
import type { Alarm } from '../fleet/index.ts'
import { createMemoryBus } from '../store/bus/memory-bus.ts'
import { newHostRow } from '../store/state/new-host.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { type ControllerTrust, openControllerTrust } from '../trust/controller-trust.ts'
import type { AgentLink, OrdersRoom } from './index.ts'
import { createOrders } from './orders-room.ts'

export interface OrdersRig {
  readonly clock: FakeClock
  readonly state: StateStore
  readonly trust: ControllerTrust
  readonly audit: AuditLog
  readonly alarms: Alarm[]
  orders: OrdersRoom
  host(name: string, more?: { readonly protected?: 0 | 1 }): Promise<FakeHost>
  /** As after a crash: a new room over the same state. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function ordersRig(): Promise<OrdersRig> {
  const dir = mkdtempSync(join(tmpdir(), 'fb-orders-'))
  const clock = new FakeClock()
  const state = await openStateStore(join(dir, 'state.db'))
  const trust = await openControllerTrust({
    stateDir: dir,
    publicAddresses: ['c:1'],
    ownAddresses: [],
    nowMs: clock.now(),
  })
  const audit = createAuditLog(state, clock, trust.auditKey)
  const alarms: Alarm[] = []
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const room = () =>
    createOrders({
      state,
      audit,
      trust,
      clock,
      bus: createMemoryBus((_topic, why) => {
        throw new Error(why)
      }),
      log: silent,
      metrics: new Registry(),
      raise: async (alarm) => {
        alarms.push(alarm)
      },
    })
  const rig: OrdersRig = {
    clock,
    state,
    trust,
    audit,
    alarms,
    orders: room(),
    async host(name, more = {}) {
      const host = new FakeHost(rig, name)
      await state.write((tx) =>
        tx
          .insertInto('hosts')
          .values({
            ...newHostRow({
              agentId: host.agentId,
              publicKey: encodeBase64(host.key.publicKey),
              facts: { hostname: name },
              group: 'g',
              at: '',
            }),
            protected: more.protected ?? 0,
            trust_version: 1,
          })
          .execute(),
      )
      return host
    },
    async restart() {
      await rig.orders.stop()
      rig.orders = room()
      await rig.orders.start()
    },
    async stop() {
      await rig.orders.stop()
      await state.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  await rig.orders.start()
  return rig
}

let sessions = 0

export class FakeHost {
  readonly agentId: AgentId
  readonly key: SigningKey = signingKeyOf(generateSeed())
  readonly commands: { readonly command: Command; readonly sha256: string }[] = []
  session = ''
  receiptSeq = 0
  prevSha256 = '0'.repeat(64)
  readonly #rig: OrdersRig

  constructor(rig: OrdersRig, _name: string) {
    this.#rig = rig
    this.agentId = agentIdOf(this.key.publicKey)
  }

  connect(known = { lease: 0, seq: 0 }): Promise<void> {
    this.session = createHash('sha256').update(String(++sessions)).digest('hex')
    const link: AgentLink = {
      session: this.session,
      sinceHandshakeMs: () => 5,
      sendCommand: (envelope) => this.#take(envelope),
    }
    return this.#rig.orders.connected(this.agentId, link, known)
  }

  disconnect(): void {
    this.#rig.orders.disconnected(this.agentId, this.session)
  }

  last(): { readonly command: Command; readonly sha256: string } {
    const last = this.commands.at(-1)
    if (!last) throw new Error('no command came')
    return last
  }

  receipt(state: Receipt['state'], more: Partial<Receipt> = {}, of = this.last()): Envelope {
    const receipt: Receipt = {
      v: 1,
      agent_id: this.agentId,
      receipt_seq: ++this.receiptSeq,
      prev_sha256: this.prevSha256,
      cmd_id: of.command.cmd_id,
      command_sha256: of.sha256,
      type: of.command.type,
      state,
      boot_id: 'b',
      mono_ms: 1,
      time: '2026-01-01T00:00:00Z',
      ...more,
    }
    const payload = Buffer.from(JSON.stringify(receipt))
    this.prevSha256 = createHash('sha256').update(payload).digest('hex')
    return seal(RECEIPT_PAYLOAD_TYPE, payload, [this.key])
  }

  answer(state: Receipt['state'], more: Partial<Receipt> = {}): ReturnType<OrdersRoom['receipt']> {
    return this.#rig.orders.receipt(this.agentId, this.receipt(state, more))
  }

  #take(bytes: Uint8Array): void {
    const envelope = JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope
    const opened = open(envelope, COMMAND_PAYLOAD_TYPE, (kid) =>
      this.#rig.trust.trust().keyFor(kid, 'command', this.#rig.clock.now(), 'isolate-host'),
    )
    if (!opened.ok) throw new Error(opened.why)
    const command: unknown = JSON.parse(Buffer.from(opened.value.payload).toString('utf8'))
    if (!commandSchema.Check(command)) throw new Error('not a command')
    this.commands.push({ command, sha256: createHash('sha256').update(opened.value.payload).digest('hex') })
  }
}
