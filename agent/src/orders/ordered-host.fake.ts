/** A host with keys, trust, ceiling and actions that tests can look into, and a maker of commands for it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  RECEIPT_PAYLOAD_TYPE,
  type Receipt,
  type Refusal,
  receiptSchema,
} from '@firebreak/shared/commands/command.ts'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import { ok, refuse } from '@firebreak/shared/result.ts'
import { type Envelope, open, seal } from '@firebreak/shared/trust/dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf, verifierOf } from '@firebreak/shared/trust/ed25519.ts'
import {
  openTrustFile,
  publicKeyText,
  rootHashOf,
  sealTrustFile,
  type TrustFile,
} from '@firebreak/shared/trust/trust-file.ts'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import type { Action, Actions, Effect, Order } from '../actions/action.ts'
import { ensureIdentity, type Identity } from '../identity/identity.ts'
import { openTrustStore, saveFirstTrust, type TrustStore } from '../identity/trust-store.ts'
import type { Session } from '../link/handshake.ts'
import { silentLog } from '../log.ts'
import { createCeiling, type ProcessView } from './ceiling.ts'
import { sha256 } from './examine.ts'
import { createOrders, type Orders, type OrdersDeps } from './orders.ts'

const make = () => signingKeyOf(generateSeed())

export interface Keys {
  readonly root: SigningKey
  readonly command: SigningKey
  /** May order nothing but a release. */
  readonly releaser: SigningKey
  readonly gateway: SigningKey
  readonly operator: SigningKey
  readonly revoked: SigningKey
  readonly stranger: SigningKey
}

export function makeKeys(): Keys {
  return {
    root: make(),
    command: make(),
    releaser: make(),
    gateway: make(),
    operator: make(),
    revoked: make(),
    stranger: make(),
  }
}

/** What the fake actions did to the world. */
export interface World {
  readonly applied: string[]
  readonly undone: string[]
  /** What `check` of every action says. */
  checkRefusal: Refusal | undefined
  fail: boolean
  /** Resolves when `apply` may go on. */
  gate: Promise<void>
}

export function makeWorld(): World {
  return { applied: [], undone: [], checkRefusal: undefined, fail: false, gate: Promise.resolve() }
}

export function fakeActions(world: World): Actions {
  const action = <T extends CommandType>(type: T): Action<T> => {
    const effect = (): Effect<T> => ({ state: 'verified', evidence: {} as never })
    return {
      type,
      async check() {
        return world.checkRefusal ? refuse(world.checkRefusal, 'as the test wants') : ok()
      },
      async apply(order: Order<T>, report) {
        await world.gate
        order.step('fake.before')
        if (world.fail) throw new Error('as the test wants')
        world.applied.push(order.cmdId)
        order.step('fake.effect')
        await report({ state: 'applied', evidence: {} as never })
        order.step('fake.reported')
        return effect()
      },
      async verify() {
        return effect()
      },
      async reconcile(order) {
        return world.applied.includes(order.cmdId)
          ? { found: 'done', effect: effect() }
          : { found: 'not_done', why: 'no trace of it' }
      },
      async resume() {},
      async stop() {},
    }
  }
  return {
    'isolate-host': action('isolate-host'),
    'release-host': action('release-host'),
    'kill-process': action('kill-process'),
  }
}

export class OrderedHost {
  readonly keys: Keys
  readonly clock: FakeClock
  readonly stateDir: string
  readonly identity: Identity
  readonly trust: TrustStore
  readonly session: Session
  readonly world: World
  readonly ceilingPath: string
  orders: Orders
  file: TrustFile
  #seq = 0

  constructor(
    options: {
      readonly file?: Partial<TrustFile>
      readonly ceiling?: string
      readonly step?: (name: string) => void
      readonly processes?: ProcessView
      readonly world?: World
    } = {},
  ) {
    this.keys = makeKeys()
    this.clock = new FakeClock()
    this.world = options.world ?? makeWorld()
    this.stateDir = temporaryFolder()
    this.ceilingPath = join(this.stateDir, 'ceiling.yaml')
    if (options.ceiling !== undefined) writeFileSync(this.ceilingPath, options.ceiling, { mode: 0o600 })
    const identity = ensureIdentity(this.stateDir)
    if (!identity.ok) throw new Error(identity.why)
    this.identity = identity.value
    this.file = this.#trustFile(options.file ?? {})
    this.trust = this.#saved()
    this.session = { id: 'ab'.repeat(32), startedAt: this.clock.monotonic(), serverTime: this.clock.now() }
    this.orders = this.open(options)
  }

  /** Another life of the agent on the same disk, or on a copy of it. */
  open(
    options: Pick<OrdersDeps, 'step'> & { readonly processes?: ProcessView; readonly stateDir?: string } = {},
  ): Orders {
    this.orders = createOrders({
      identity: this.identity,
      trust: this.trust,
      ceiling: createCeiling({
        path: this.ceilingPath,
        ...(options.processes ? { processes: options.processes } : {}),
      }),
      clock: this.clock,
      log: silentLog,
      bootId: 'boot-1',
      journalPath: join(options.stateDir ?? this.stateDir, 'journal'),
      ...(options.step ? { step: options.step } : {}),
    })
    return this.orders
  }

  body(type: CommandType, args: object, change: Partial<Command> = {}): Command {
    this.#seq = change.seq ?? this.#seq + 1
    return {
      v: 1,
      cmd_id: uuidv7(this.clock.now()),
      deployment_id: this.file.deployment_id,
      agent_id: this.identity.agentId,
      session: this.session.id,
      lease: 1,
      seq: this.#seq,
      trust_version: this.file.version,
      issued_at: new Date(this.clock.now()).toISOString(),
      ttl_s: 300,
      issued_mono_ms: this.clock.monotonic() - this.session.startedAt,
      type,
      args: args as Command['args'],
      reason: { text: 'a test' },
      actor: 'user:test',
      ...change,
    }
  }

  sealed(body: Command, keys: readonly SigningKey[] = [this.keys.command]): Buffer {
    return this.sealedBytes(Buffer.from(JSON.stringify(body)), keys)
  }

  sealedBytes(payload: Uint8Array, keys: readonly SigningKey[] = [this.keys.command]): Buffer {
    return Buffer.from(JSON.stringify(seal(COMMAND_PAYLOAD_TYPE, payload, keys)))
  }

  isolate(change: Partial<Command> = {}): Buffer {
    return this.sealed(this.body('isolate-host', { hold_s: 3_600, on_controller_loss: 'hold' }, change))
  }

  receive(envelope: Uint8Array) {
    return this.orders.receive(envelope, this.session)
  }

  /** Every receipt on its way, checked: signature, schema, numbers without a hole, chain of digests. */
  receipts(orders: Orders = this.orders): Receipt[] {
    return readReceipts(orders, this.identity)
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  #saved(): TrustStore {
    const envelope = sealTrustFile(this.file, [this.keys.root])
    const trust = openTrustFile(envelope, rootHashOf(this.file.root))
    if (!trust.ok) throw new Error(trust.why)
    const enrolment = {
      agent_id: this.identity.agentId,
      deployment_id: this.file.deployment_id,
      controller: 'https://127.0.0.1:1',
      enrolled_at: '2026-01-01T00:00:00Z',
    }
    saveFirstTrust(this.stateDir, enrolment, trust.value)
    const store = openTrustStore(this.stateDir)
    if (!store.ok) throw new Error(store.why)
    return store.value
  }

  follow(change: Partial<TrustFile>): Envelope {
    this.file = { ...this.file, ...change, version: this.file.version + 1 }
    const envelope = sealTrustFile(this.file, [this.keys.root])
    const followed = this.trust.follow(envelope)
    if (!followed.ok) throw new Error(followed.why)
    return envelope
  }

  #trustFile(change: Partial<TrustFile>): TrustFile {
    const key = (of: SigningKey, roles: TrustFile['keys'][number]['roles'], types: readonly CommandType[] = []) => ({
      public_key: publicKeyText(of),
      roles,
      types: [...types],
    })
    return {
      v: 1,
      deployment_id: '3d9f4c1e-0000-4000-8000-000000000001',
      version: 1,
      issued_at: '2026-01-01T00:00:00Z',
      expires_at: '2026-06-01T00:00:00Z',
      root: { threshold: 1, keys: [publicKeyText(this.keys.root)] },
      keys: [
        key(this.keys.command, ['command'], ['isolate-host', 'release-host', 'kill-process']),
        key(this.keys.releaser, ['command'], ['release-host']),
        key(this.keys.gateway, ['gateway']),
        key(this.keys.operator, ['operator']),
        key(this.keys.revoked, ['command'], ['isolate-host']),
      ],
      revoked: [this.keys.revoked.kid],
      dual_types: [],
      controllers: ['127.0.0.1:1'],
      tls_spki_sha256: [Buffer.alloc(32).toString('base64')],
      ...change,
    }
  }
}

export function readReceipts(orders: Orders, identity: Identity): Receipt[] {
  const verifier = verifierOf(identity.key.publicKey)
  let previous: { seq: number; digest: string } | undefined
  return orders.receipts.after(0).map(({ seq, envelope }) => {
    const opened = open(envelope, RECEIPT_PAYLOAD_TYPE, () => verifier)
    if (!opened.ok) throw new Error(opened.why)
    const receipt: unknown = JSON.parse(Buffer.from(opened.value.payload).toString('utf8'))
    if (!receiptSchema.Check(receipt))
      throw new Error(`not a receipt: ${JSON.stringify(receiptSchema.Errors(receipt))}`)
    if (receipt.receipt_seq !== seq) throw new Error('the number of the receipt is not the one it is kept under')
    if (previous && (seq !== previous.seq + 1 || receipt.prev_sha256 !== previous.digest))
      throw new Error('the chain is broken')
    previous = { seq, digest: sha256(opened.value.payload) }
    return receipt
  })
}
