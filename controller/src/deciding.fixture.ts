/** The deciding rooms on a real state store, for tests: events go in as committed batches, orders come out as rows. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandState } from '@firebreak/shared/commands/command.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { agentIdOf, type AgentId } from '@firebreak/shared/ids.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import { createAuditLog } from './audit/audit-log.ts'
import { createDetect } from './detect/detect.ts'
import { DetectConfig } from './detect/detect-config.ts'
import { accountingSignal } from './detect/accounting-signals.ts'
import type { Detect } from './detect/index.ts'
import { createFeed } from './ingest/feed.ts'
import { HeldBatches } from './ingest/held-batches.ts'
import type { IngestFeed } from './ingest/index.ts'
import { readBatch, screenOf } from './ingest/reader/read-batch.ts'
import type { OrdersRoom } from './orders/index.ts'
import type { CommandView } from './orders/orders.ts'
import { createOrders } from './orders/orders-room.ts'
import { createMemoryBus } from './store/bus/memory-bus.ts'
import type { Bus } from './store/bus/bus.ts'
import { newHostRow } from './store/state/new-host.ts'
import { openStateStore } from './store/state/sqlite-store.ts'
import type { StateStore } from './store/state/state-store.ts'
import type { TelemetryStore } from './store/telemetry/telemetry-store.ts'
import type { Triage } from './triage/index.ts'
import { openControllerTrust } from './trust/controller-trust.ts'
import { createTriage } from './triage/triage.ts'
import { TriageConfig } from './triage/triage-config.ts'
import type { Respond } from './respond/index.ts'
import { createRespond } from './respond/respond.ts'
import { RespondConfig } from './respond/respond-config.ts'

export const REVERSE_SHELL = `title: Reverse Shell Over Bash
id: 3c5e1a76-6d2e-4a4e-9c55-0a4b3a6c9d10
status: stable
level: critical
logsource: { product: linux, category: process_creation }
detection:
  selection:
    CommandLine|contains: '/dev/tcp/'
  condition: selection
tags: [attack.execution, attack.t1059.004, attack.command-and-control]
`
export const DISCOVERY = `title: Account Discovery
id: 5d1ff1c2-5d9b-4a7e-bb1a-e0b7b0f6a1c4
status: test
level: medium
logsource: { product: linux, category: process_creation }
detection:
  selection:
    CommandLine|contains: 'cat /etc/passwd'
  condition: selection
tags: [attack.discovery, attack.t1087.001]
`

export interface RigOptions {
  readonly rules?: readonly string[]
  readonly ruleDirs?: readonly string[]
  readonly triage?: Partial<TriageConfig>
  readonly respond?: Partial<RespondConfig>
  readonly prevalence?: TelemetryStore['prevalence']
  /** Between the rooms and the store, so that a test can pull the plug. */
  readonly wrapStore?: (store: StateStore) => StateStore
}

export interface Logged {
  readonly name: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A place on disk that outlives the controllers that work on it. */
export class Site {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'fb-decide-'))
  readonly #rules: string = join(this.dir, 'rules')

  constructor() {
    writeFileSync(join(this.dir, 'note'), '')
  }

  get path(): string {
    return join(this.dir, 'state.db')
  }

  rules(texts: readonly string[]): string {
    const dir = mkdtempSync(`${this.#rules}-`)
    for (const [index, text] of texts.entries()) writeFileSync(join(dir, `${index}.yml`), text)
    return dir
  }

  forget(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

const auditKey = signingKeyOf(generateSeed())
const everything = screenOf(undefined)

/** Batches as they lie in the state, read again each time. */
function feedFrom(state: StateStore): IngestFeed {
  return createFeed({
    state,
    held: new HeldBatches({ held_bytes: 0, parsed_events: 0 }),
    reader: { read: async (batch) => readBatch(batch, everything) },
    async setAside(row, why) {
      throw new Error(`batch ${row.id} is damaged: ${why}`)
    },
  })
}

export class Rig {
  readonly store: StateStore
  readonly bus: Bus
  readonly detect: Detect
  readonly triage: Triage
  readonly respond: Respond
  readonly orders: OrdersRoom
  readonly logged: Logged[]
  readonly metrics: Registry
  readonly audit: ReturnType<typeof createAuditLog>
  readonly #clock: Clock
  #seq = 0

  private constructor(
    parts: Omit<Rig, 'start' | 'stop' | 'host' | 'commit' | 'settle' | 'run' | 'become'>,
    clock: Clock,
  ) {
    this.#clock = clock
    this.store = parts.store
    this.bus = parts.bus
    this.detect = parts.detect
    this.triage = parts.triage
    this.respond = parts.respond
    this.orders = parts.orders
    this.logged = parts.logged
    this.metrics = parts.metrics
    this.audit = parts.audit
  }

  /** A controller that is not started yet. */
  static async open(site: Site, clock: Clock, options: RigOptions = {}): Promise<Rig> {
    const store = await openStateStore(site.path)
    const working = options.wrapStore?.(store) ?? store
    const logged: Logged[] = []
    const note = (name: string, fields: Readonly<Record<string, unknown>>) => void logged.push({ name, fields })
    const log = { info: note, warn: note, error: note }
    const bus = createMemoryBus((topic, why) => note(`bus.${topic}.failed`, { why }))
    const audit = createAuditLog(working, clock, auditKey)
    const metrics = new Registry()
    const prevalence = options.prevalence ?? (async () => ({ events: 0, hosts: 0 }))
    const triage = createTriage(
      { store: working, telemetry: { prevalence }, bus, audit, clock, log, metrics },
      { ...(Value.Default(TriageConfig, {}) as TriageConfig), ...options.triage },
    )
    const ruleDirs = options.ruleDirs ?? [site.rules(options.rules ?? [REVERSE_SHELL, DISCOVERY])]
    const detect = createDetect(
      { feed: feedFrom(store), store: working, triage, bus, clock, log, metrics },
      { ...(Value.Default(DetectConfig, {}) as DetectConfig), rule_dirs: [...ruleDirs], retry_ms: 10 },
    )
    const trust = await openControllerTrust({
      stateDir: site.dir,
      publicAddresses: ['127.0.0.1:8443'],
      ownAddresses: [],
      nowMs: clock.now(),
    })
    const raise = (alarm: Parameters<typeof accountingSignal>[0]) => detect.raise(accountingSignal(alarm))
    const orders = createOrders({ state: working, audit, trust, bus, clock, log, metrics, raise })
    const respond = createRespond(
      { store: working, orders, bus, audit, clock, log, metrics },
      { ...(Value.Default(RespondConfig, {}) as RespondConfig), ...options.respond },
    )
    return new Rig({ store, bus, detect, triage, respond, orders, logged, metrics, audit }, clock)
  }

  async start(): Promise<void> {
    await this.respond.start()
    await this.detect.start()
  }

  async stop(): Promise<void> {
    await this.detect.stop()
    await this.respond.stop()
    await this.store.close()
  }

  /** Everything that can go on by itself has. */
  async settle(): Promise<void> {
    for (let round = 0; round < 4; round++) {
      await this.detect.idle()
      await new Promise((resolve) => setImmediate(resolve))
      await this.respond.idle()
    }
  }

  async host(hostname: string, more: { protected?: boolean; tags?: readonly string[]; connected?: boolean } = {}) {
    const agentId = agentIdOf(Buffer.from(hostname))
    await this.store.write((tx) =>
      tx
        .insertInto('hosts')
        .values({
          ...newHostRow({
            agentId,
            publicKey: hostname,
            facts: { hostname },
            group: 'default',
            at: '2026-01-01T00:00:00.000Z',
          }),
          tags: JSON.stringify(more.tags ?? []),
          protected: more.protected === true ? 1 : 0,
          connected_session: more.connected === false ? null : 's',
          trust_version: 1,
        })
        .execute(),
    )
    return agentId
  }

  /** As ingest does: the row first, then the word. */
  async commit(agentId: AgentId, events: readonly Event[]): Promise<void> {
    const first = this.#seq + 1
    this.#seq += events.length
    const lines = events.map((event) => `${JSON.stringify(event)}\n`).join('')
    const batchId = await this.store.write(async (tx) => {
      const { id } = await tx
        .insertInto('ingest_batches')
        .values({
          agent_id: agentId,
          epoch: 'e',
          class: 'process',
          first_seq: first,
          last_seq: first + events.length - 1,
          count: events.length,
          gaps: '[]',
          body_bytes: Buffer.byteLength(lines),
          received_at: new Date(this.#clock.now()).toISOString(),
          block_id: null,
        })
        .returning('id')
        .executeTakeFirstOrThrow()
      await tx
        .insertInto('ingest_bodies')
        .values({ batch_id: id, body: zstdCompressSync(lines) })
        .execute()
      return id
    })
    this.bus.publish('batch.committed', { agentId, batchId })
  }

  /** As a receipt of the host would: every open command comes to this state. */
  async become(state: CommandState, code: string | null = null, from: CommandState = 'queued'): Promise<void> {
    const open = await this.store.db.selectFrom('commands').selectAll().where('state', '=', from).execute()
    await this.store.write((tx) => tx.updateTable('commands').set({ state, code }).where('state', '=', from).execute())
    for (const { id, agent_id } of open) {
      this.bus.publish('command.changed', { commandId: id as CommandView['id'], agentId: agent_id as AgentId })
    }
  }

  async run() {
    return await this.store.db.selectFrom('runs').selectAll().executeTakeFirst()
  }
}

export function processEvent(clock: Clock, commandLine: string, more: Partial<Event['process']> = {}): Event {
  const at = new Date(clock.now()).toISOString()
  return {
    '@timestamp': at,
    event: { category: ['process'], type: ['start'], action: 'process-started', ingested: at },
    host: { os: { type: 'linux' } },
    process: {
      pid: 4711,
      entity_id: 'boot-4711-1',
      name: 'bash',
      executable: '/usr/bin/bash',
      command_line: commandLine,
      parent: { pid: 1, entity_id: 'boot-1-1', name: 'systemd' },
      user: { id: '33', name: 'www-data' },
      ...more,
    },
  }
}
