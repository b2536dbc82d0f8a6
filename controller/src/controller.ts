/** The wiring: the only place that knows every room. What starts last is stopped first. */
import { hostname, networkInterfaces } from 'node:os'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, systemClock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { Logger } from 'pino'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { ensureAdminToken, type FirstToken } from './access/first-token.ts'
import { createTokens } from './access/tokens.ts'
import type { ApiDeps, Readiness } from './api/api-deps.ts'
import { createApi, type TlsMaterial } from './api/server.ts'
import { createAuditLog } from './audit/audit-log.ts'
import type { Config } from './config.ts'
import { createCoverage } from './coverage/coverage.ts'
import { accountingSignal, UNACCOUNTED_RULE } from './detect/accounting-signals.ts'
import { createDetect } from './detect/detect.ts'
import type { Detect } from './detect/index.ts'
import { createEnrolment } from './fleet/enrolment.ts'
import { createFleet } from './fleet/fleet.ts'
import type { Fleet, JoinTokens } from './fleet/index.ts'
import { createJoinTokens } from './fleet/join-tokens.ts'
import { fleetMetrics } from './fleet/log-names.ts'
import { createGateway } from './gateway/gateway.ts'
import { createImports } from './import/imports.ts'
import { createIndicators } from './indicators/indicators.ts'
import { createFeed } from './ingest/feed.ts'
import { HeldBatches } from './ingest/held-batches.ts'
import { createIngest } from './ingest/ingest.ts'
import { ingestMetrics } from './ingest/log-names.ts'
import { Mover } from './ingest/mover.ts'
import { createBatchReader } from './ingest/reader/batch-reader.ts'
import { createSetAside } from './ingest/set-aside.ts'
import { roomLog } from './log.ts'
import type { OrdersRoom } from './orders/index.ts'
import { createOrders } from './orders/orders-room.ts'
import type { Respond } from './respond/index.ts'
import { createRespond } from './respond/respond.ts'
import { createSearch } from './search/search.ts'
import { createBackups } from './store/backup/backups.ts'
import { createMemoryBus } from './store/bus/memory-bus.ts'
import { openStateStore } from './store/state/sqlite-store.ts'
import { lockStateDir } from './store/state/state-lock.ts'
import { Keeper } from './store/telemetry/keeper.ts'
import { telemetryMetrics } from './store/telemetry/log-names.ts'
import { openTelemetry } from './store/telemetry/open-telemetry.ts'
import { createTriage } from './triage/triage.ts'
import { openControllerTrust } from './trust/controller-trust.ts'
import type { ControllerTrust } from './trust/index.ts'

export interface ControllerDeps {
  readonly logger: Logger
  readonly clock?: Clock
  readonly metrics?: Registry
}

export interface Started {
  /** Where the API listens, such as http://127.0.0.1:8420. */
  readonly apiUrl: string
  readonly gatewayPort: number
  /** Where an administrator's first token lies. */
  readonly adminToken: FirstToken
  /** What the operator should know or do, in words. */
  readonly advice: readonly string[]
}

/** What other parts of the process (API, `firebreak up`, tests, benches) may reach. */
export interface Controller extends Omit<ApiDeps, 'log' | 'controllers' | 'fleet' | 'joinTokens' | 'orders'> {
  readonly trust: ControllerTrust
  readonly fleet: Fleet
  readonly joinTokens: JoinTokens
  readonly orders: OrdersRoom
  readonly detect: Detect
  readonly respond: Respond
  start(): Promise<Started>
  /** Lets what is under way finish, then closes everything. What waits is in the state and goes on at the next start. */
  stop(): Promise<void>
}

/** Opens the stores and stands the rooms up; nothing listens and nothing runs before `start`. */
export async function createController(config: Config, deps: ControllerDeps): Promise<Controller> {
  const closing: (() => void | Promise<void>)[] = []
  try {
    return await wire(config, deps, closing)
  } catch (thrown) {
    for (const close of closing.reverse()) await close()
    throw thrown
  }
}

async function wire(
  config: Config,
  { logger, clock = systemClock, metrics = newRegistry() }: ControllerDeps,
  closing: (() => void | Promise<void>)[],
): Promise<Controller> {
  const log = roomLog(logger)
  const tick = () => performance.now()
  closing.push(lockStateDir(config.state_dir))
  const trust = await openControllerTrust({
    stateDir: config.state_dir,
    publicAddresses: config.gateway.public,
    ownAddresses: ownAddresses(config.gateway.port),
    nowMs: clock.now(),
  })
  const state = await openStateStore(join(config.state_dir, 'state.db'))
  closing.push(() => state.close())
  await sameDeployment(state, trust)
  const telemetry = await openTelemetry(config.telemetry, join(config.state_dir, 'telemetry'))
  closing.push(() => telemetry.close())
  const keeper = new Keeper({ telemetry, clock, log, metrics: telemetryMetrics(metrics) }, config.telemetry)
  const bus = createMemoryBus((topic, why) => log.error('bus.handler.failed', { topic, why }))
  const audit = createAuditLog(state, clock, trust.auditKey)
  const backups = createBackups(
    { stateDir: config.state_dir, state, telemetry, audit, log, now: () => clock.now() },
    config.backup.dir ?? join(config.state_dir, 'backups'),
  )
  closing.push(() => backups.stop())
  const tokens = createTokens({ state, audit, clock })
  const joinTokens = createJoinTokens(state, audit, trust, clock)
  const enrolment = createEnrolment(state, audit, trust, clock)

  const ingestFigures = ingestMetrics(metrics)
  const reader = createBatchReader(log, config.ingest.reader_threads)
  closing.push(() => reader.stop())
  const held = new HeldBatches(config.ingest)
  const setAside = createSetAside({ state, clock, log, metrics: ingestFigures, raise: (alarm) => raise(alarm) })
  const reading = { state, held, reader, setAside }
  const feed = createFeed(reading)
  const mover = new Mover({ ...reading, telemetry, clock, log, metrics: ingestFigures }, config.ingest)
  const ingest = createIngest({ state, bus, clock, tick, metrics: ingestFigures, reader, held, mover }, config.ingest)

  const shared = { store: state, state, bus, audit, clock, log, metrics }
  const triage = createTriage({ ...shared, telemetry }, config.triage)
  const search = createSearch(telemetry, config.search)
  const indicators = createIndicators(
    {
      ...shared,
      telemetry,
      search,
      watch: (memory) => reader.watch(memory),
      raise: async (signal) => await detect.raise(signal),
    },
    config.indicators,
  )
  const detect = createDetect(
    { ...shared, feed, screen: (rules) => reader.use(rules), further: indicators, triage },
    config.detect,
  )
  const raise = (alarm: Parameters<typeof accountingSignal>[0]) => detect.raise(accountingSignal(alarm))
  const coverage = createCoverage(shared, config.coverage)
  const explained = (agentId: AgentId, why: string) => triage.explain(agentId, UNACCOUNTED_RULE, why)
  const fleet = createFleet({ ...shared, metrics: fleetMetrics(metrics), raise, coverage, explained })
  const orders = createOrders({ ...shared, trust, raise })
  const respond = createRespond({ ...shared, orders }, config.respond)
  const imports = createImports({ ...shared, ingest })
  const gateway = createGateway({ ...shared, tick, trust, fleet, enrolment, ingest, orders }, config.gateway)
  const readiness = readinessOf({ state, telemetry, trust, detect, respond, clock })

  const faces = {
    clock,
    state,
    telemetry,
    search,
    indicators,
    bus,
    orders,
    audit,
    tokens,
    fleet,
    joinTokens,
    releaseCodes: orders.releaseCodes,
    rules: detect,
    coverage,
    playbooks: respond,
    triage,
    imports,
    backups,
    readiness,
    metrics,
  }
  const api = await createApi(
    { ...faces, log: logger, controllers: () => trust.trust().file.controllers },
    config.api,
    apiTls(config.api, trust),
  )
  closing.push(() => api.close())
  closing.push(() => imports.stop())

  return { ...faces, trust, detect, respond, start, stop }

  async function start(): Promise<Started> {
    const adminToken = await ensureAdminToken(tokens, config.state_dir)
    await fleet.forgetSessions()
    const rooms: readonly { start(): Promise<unknown>; stop(): Promise<void> }[] = [
      keeper,
      mover,
      coverage,
      orders,
      indicators,
      detect,
      respond,
      gateway,
    ]
    let gatewayPort = 0
    for (const room of rooms) {
      const started = await room.start()
      closing.push(() => room.stop())
      if (room === gateway) gatewayPort = (started as { readonly port: number }).port
    }
    const apiUrl = await api.listen({ host: config.api.host, port: config.api.port })
    for (const advice of trust.advice) log.warn('trust.advice.given', { advice })
    log.info('controller.process.started', { api: apiUrl, gateway_port: gatewayPort, state_dir: config.state_dir })
    return { apiUrl, gatewayPort, adminToken, advice: trust.advice }
  }

  async function stop(): Promise<void> {
    const problems: unknown[] = []
    for (const close of closing.splice(0).reverse()) {
      try {
        await close()
      } catch (thrown) {
        problems.push(thrown)
        log.error('controller.stop.failed', { why: reasonOf(thrown) })
      }
    }
    log.info('controller.process.stopped', {})
    if (problems.length > 0) throw new Fault('stop_failed', reasonOf(problems[0]), { cause: problems[0] })
  }
}

function newRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** Keys and state that do not belong together would make every host a stranger: found out now, not when hosts refuse. */
async function sameDeployment(
  state: Awaited<ReturnType<typeof openStateStore>>,
  trust: ControllerTrust,
): Promise<void> {
  const known = await state.write(async (tx) => {
    const row = await tx.selectFrom('meta').select('value').where('key', '=', 'deployment_id').executeTakeFirst()
    if (!row) await tx.insertInto('meta').values({ key: 'deployment_id', value: trust.deploymentId }).execute()
    return row?.value ?? trust.deploymentId
  })
  if (known !== trust.deploymentId)
    throw new Fault(
      'other_deployment',
      `the state belongs to deployment ${known}, and the keys to ${trust.deploymentId}: put the keys of this state back`,
    )
}

function readinessOf({
  state,
  telemetry,
  trust,
  detect,
  respond,
  clock,
}: Pick<ApiDeps, 'state' | 'telemetry' | 'clock'> & {
  readonly trust: ControllerTrust
  readonly detect: Detect
  readonly respond: Respond
}): Readiness {
  const part = (ready: boolean, why: string) => (ready ? { ready } : { ready, why })
  return {
    async check() {
      const rules = detect.rulesHealth()
      const playbooks = respond.playbooksHealth()
      return {
        store: part(state.healthy(), 'the last write to the state did not get through'),
        telemetry: part(telemetry.healthy(), 'the last block of events was not taken'),
        keys: part(!trust.trust().expired(clock.now()), 'the trust file has expired: agents refuse commands'),
        rules: part(rules.ready, rules.why ?? 'no rules are loaded'),
        playbooks: part(playbooks.ready, playbooks.why ?? 'no playbooks are loaded'),
      }
    },
  }
}

/** Plain HTTP stays on this machine; beyond it the API shows its own certificate, or the one that agents pin. */
function apiTls(config: Config['api'], trust: ControllerTrust): TlsMaterial | undefined {
  if (config.tls_cert_file !== undefined && config.tls_key_file !== undefined)
    return { cert: readFileSync(config.tls_cert_file, 'utf8'), key: readFileSync(config.tls_key_file, 'utf8') }
  if (config.tls_cert_file !== undefined || config.tls_key_file !== undefined)
    throw new Fault('bad_config', 'api.tls_cert_file and api.tls_key_file belong together')
  return ['127.0.0.1', '::1', 'localhost'].includes(config.host) ? undefined : trust.tls
}

/** Where agents can reach this machine, for the first trust file when nothing is configured. */
function ownAddresses(port: number): string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, scopeid }) => !internal && !scopeid)
    .map(({ address, family }) => (family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`))
  return [...addresses, `${hostname()}:${port}`, `127.0.0.1:${port}`].slice(0, 32)
}
