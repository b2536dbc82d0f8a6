/** A whole API on real stores for tests: state, audit and tokens are the product's own; nothing listens unless asked. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { COMMAND_CARDS } from '@firebreak/shared/commands/catalogue.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AgentId, CommandId } from '@firebreak/shared/ids.ts'
import { ok } from '@firebreak/shared/result.ts'
import type { InjectOptions } from 'fastify'
import type { Insertable } from 'kysely'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import { createTokens } from '../access/tokens.ts'
import { createAuditLog } from '../audit/audit-log.ts'
import type { RuleStatus } from '../detect/index.ts'
import { createCoverage } from '../coverage/coverage.ts'
import { CoverageConfig } from '../coverage/coverage-config.ts'
import { createFleet } from '../fleet/fleet.ts'
import { createJoinTokens } from '../fleet/join-tokens.ts'
import { fleetMetrics } from '../fleet/log-names.ts'
import { createIndicators } from '../indicators/indicators.ts'
import { IndicatorsConfig } from '../indicators/indicators-config.ts'
import { createImports } from '../import/imports.ts'
import type { Ingest } from '../ingest/index.ts'
import { createIngest } from '../ingest/ingest.ts'
import { ingestMetrics } from '../ingest/log-names.ts'
import { readBatch, screenOf } from '../ingest/reader/read-batch.ts'
import { roomLog } from '../log.ts'
import { ROLES, type Role } from '../orders/orders.ts'
import { createOrders } from '../orders/orders-room.ts'
import { SearchConfig } from '../search/search-config.ts'
import { createSearch } from '../search/search.ts'
import { createBackups } from '../store/backup/backups.ts'
import { createMemoryBus } from '../store/bus/memory-bus.ts'
import { newHostRow } from '../store/state/new-host.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { createTriage } from '../triage/triage.ts'
import { TriageConfig } from '../triage/triage-config.ts'
import { openControllerTrust } from '../trust/controller-trust.ts'
import { ApiConfig } from './api-config.ts'
import type { ApiDeps } from './api-deps.ts'
import { createApi, type TlsMaterial } from './server.ts'

export const NOW = Date.UTC(2026, 10, 24, 12)
export const AGENT = 'aaaabbbbccccddddeeeeffff22' as AgentId
export const OTHER_AGENT = 'bbbbbbbbccccddddeeeeffff33' as AgentId

interface Changes {
  readonly config?: Partial<ApiConfig>
  readonly deps?: Partial<ApiDeps>
  readonly tls?: TlsMaterial
  /** In memory when left out: the engine takes a second to start and only searches need it. */
  readonly telemetry?: TelemetryStore
}

export async function startApi(changes: Changes = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'fb-api-'))
  const clock = new FakeClock(NOW)
  const log = pino({ level: 'silent' })
  const metrics = new Registry()
  const state = await openStateStore(join(dir, 'state.db'))
  const bus = createMemoryBus(() => {})
  const trust = await openControllerTrust({
    stateDir: dir,
    publicAddresses: ['192.0.2.1:8421'],
    ownAddresses: [],
    nowMs: NOW,
  })
  const audit = createAuditLog(state, clock, trust.auditKey)
  const tokens = createTokens({ state, audit, clock })
  const secrets = new Map<Role, string>()
  for (const role of ROLES) secrets.set(role, (await tokens.create({ name: `${role}-1`, role }, 'system')).secret)
  const events: Event[] = []
  const rules: RuleStatus[] = []
  const telemetry = changes.telemetry ?? telemetryOf(events)
  const room = { state, audit, trust, bus, clock, log: roomLog(log), metrics, raise: async () => {} }
  const ingest = ingestOf(room)
  const orders = createOrders(room)
  const coverage = createCoverage(room, Value.Default(CoverageConfig, {}) as CoverageConfig)
  const search = createSearch(telemetry, Value.Default(SearchConfig, {}) as SearchConfig)
  const deps: ApiDeps = {
    clock,
    log,
    state,
    bus,
    audit,
    tokens,
    telemetry,
    search,
    orders,
    releaseCodes: orders.releaseCodes,
    fleet: createFleet({ ...room, metrics: fleetMetrics(metrics), coverage, explained: async () => {} }),
    coverage,
    joinTokens: createJoinTokens(state, audit, trust, clock),
    controllers: () => trust.trust().file.controllers,
    imports: createImports({ ...room, ingest }),
    indicators: createIndicators(
      { ...room, telemetry, search, watch: () => {} },
      Value.Default(IndicatorsConfig, {}) as IndicatorsConfig,
    ),
    backups: createBackups({ ...room, stateDir: dir, telemetry, now: () => clock.now() }, join(dir, 'backups')),
    triage: createTriage({ ...room, store: state, telemetry }, Value.Create(TriageConfig)),
    rules: { ruleList: () => rules },
    playbooks: { playbookList: () => [] },
    readiness: {
      check: async () => ({
        store: { ready: state.healthy() },
        telemetry: { ready: true },
        keys: { ready: true },
        rules: { ready: true },
        playbooks: { ready: true },
      }),
    },
    metrics,
    ...changes.deps,
  }
  const config: ApiConfig = { ...Value.Create(ApiConfig), ...changes.config }
  const api = await createApi(deps, config, changes.tls)

  return {
    api,
    deps,
    dir,
    clock,
    state,
    bus,
    audit,
    tokens,
    trust,
    events,
    rules,
    ingest,
    secretOf: (role: Role) => secrets.get(role) ?? '',
    /** As this role, or with no token at all. */
    async ask(role: Role | null, options: InjectOptions) {
      return await api.inject({
        ...options,
        headers: { ...(role ? { authorization: `Bearer ${secrets.get(role)}` } : {}), ...options.headers },
      })
    },
    async addHost(agentId: string, hostname: string, more: Partial<Insertable<Tables['hosts']>> = {}) {
      await state.write(async (tx) => {
        await tx
          .insertInto('hosts')
          .values({ ...hostRow(agentId, hostname), ...more })
          .execute()
      })
    },
    async stop() {
      await api.close()
      await state.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
export type ApiUnderTest = Awaited<ReturnType<typeof startApi>>

/** Holds an answer against the schema that the route documents for its status. */
export function fitsItsSchema(api: ApiUnderTest['api'], method: string, url: string, status: number, body: unknown) {
  const document = api.swagger() as unknown as Record<string, Record<string, Record<string, Record<string, never>>>>
  const path = url.replaceAll(/:([a-z_]+)/g, '{$1}')
  const operation = document['paths']?.[path]?.[method.toLowerCase()] as unknown as
    | { responses: Record<string, { content?: Record<string, { schema: object }> }> }
    | undefined
  const schema = operation?.responses[String(status)]?.content?.['application/json']?.schema
  if (!schema) throw new Error(`${method} ${url} documents no body for ${status}`)
  const compiled = Compile(schema)
  return compiled.Check(body) ? [] : compiled.Errors(body)
}

export function hostRow(agentId: string, hostname: string): Insertable<Tables['hosts']> {
  const facts = {
    hostname,
    os: 'linux',
    os_name: 'Debian GNU/Linux',
    os_version: '12',
    kernel: '6.1.0',
    architecture: 'x86_64',
    addresses: ['192.0.2.10'],
    agent_version: '0.1.0',
  }
  const at = new Date(NOW).toISOString()
  return {
    ...newHostRow({ agentId: agentId as AgentId, publicKey: `key of ${agentId}`, facts, group: 'default', at }),
    last_seen_at: at,
    trust_version: 1,
    collectors: JSON.stringify([{ name: 'procfs', state: 'running', classes: ['process'], events: 3, lost: 0 }]),
  }
}

/** A live rule that looks at processes. */
export function processRule(id: string, title: string): RuleStatus {
  return {
    id,
    title,
    level: 'high',
    file: 'shell.yml',
    techniques: [],
    classes: ['process'],
    state: 'live',
    why: null,
    matches: 0,
    lastMatchAt: null,
    correlation: null,
  }
}

export function commandRow(id: CommandId): Insertable<Tables['commands']> {
  const at = new Date(NOW).toISOString()
  return {
    id,
    agent_id: AGENT,
    type: 'isolate-host',
    args: JSON.stringify({ hold_s: 3600, on_controller_loss: 'hold' }),
    risk: COMMAND_CARDS['isolate-host'].risk,
    state: 'queued',
    actor: 'user:responder-1',
    reason: 'test',
    incident_id: null,
    run_id: null,
    playbook: null,
    idempotency_key: null,
    release_code_wrapped: null,
    created_at: at,
    expires_at: at,
    delivered_at: null,
    deadline_at: null,
    session: null,
    lease: null,
    seq: null,
    payload_sha256: null,
    code: null,
    why: null,
    evidence: null,
    updated_at: at,
  }
}

/** Batches are read at once, in this thread; nothing moves on to the telemetry store. */
function ingestOf(room: Pick<ApiDeps, 'state' | 'bus' | 'clock' | 'metrics'>): Ingest {
  const screen = screenOf(undefined)
  return createIngest(
    {
      ...room,
      metrics: ingestMetrics(room.metrics),
      tick: () => room.clock.monotonic(),
      reader: { read: async (batch) => readBatch(batch, screen) },
      held: { put: () => {} },
      mover: { committed: () => {}, backlog: () => 0 },
    },
    { backlog_batches: 1_000 },
  )
}

function telemetryOf(events: Event[]): TelemetryStore {
  return {
    insert: async () => {},
    search: async ({ until, limit }) =>
      events
        .filter((event) => until === undefined || event['@timestamp'] <= until)
        .toSorted((a, b) => (a['@timestamp'] < b['@timestamp'] ? 1 : -1))
        .slice(0, limit),
    find: async ({ limit }) =>
      ok(
        events.slice(0, limit).map((event, i) => ({
          key: { timeMs: Date.parse(event['@timestamp']), agentId: event.host?.id ?? '', epoch: '', class: '', seq: i },
          event,
        })),
      ),
    select: async () => ok([]),
    export: async function* () {
      for (const event of events) yield Buffer.from(`${JSON.stringify(event)}\n`)
    },
    count: async () => events.length,
    prevalence: async () => ({ events: 0, hosts: 0 }),
    seen: async () => undefined,
    stats: async () => ({ events: events.length, bytes: 0, parts: 0, days: [], retainedSince: {} }),
    retain: async () => [],
    hold: async (work) => await work(undefined),
    freeze: async () => ({ tables: [], release: async () => {} }),
    health: async () => ({ ok: true, parts: { most: 0, slowedAt: 1_000 } }),
    healthy: () => true,
    close: async () => {},
  }
}
