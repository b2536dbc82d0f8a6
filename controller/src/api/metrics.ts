/** Figures for Prometheus. No label names a host, a person or a rule, so the door can stay open to scrapers. */
import { Counter, Gauge, Histogram } from 'prom-client'
import { COMMAND_STATES } from '@firebreak/shared/commands/command.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'

export function measureRequests(api: Api, { metrics }: Pick<ApiDeps, 'metrics'>): void {
  const requests = new Counter({
    name: 'firebreak_api_requests_total',
    help: 'Requests answered.',
    labelNames: ['method', 'route', 'status'],
    registers: [metrics],
  })
  const seconds = new Histogram({
    name: 'firebreak_api_request_seconds',
    help: 'Time until a request was answered.',
    labelNames: ['method', 'route'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    registers: [metrics],
  })
  api.addHook('onResponse', async (request, reply) => {
    // The pattern of the route, not the path: a scanner must not be able to make labels.
    const route = request.is404 ? 'none' : (request.routeOptions.url ?? 'none')
    requests.inc({ method: request.method, route, status: String(reply.statusCode) })
    seconds.observe({ method: request.method, route }, reply.elapsedTime / 1000)
  })
}

export function metricsRoutes(api: Api, { metrics, state }: Pick<ApiDeps, 'metrics' | 'state'>): void {
  const { db } = state
  const hosts = new Gauge({
    name: 'firebreak_fleet_hosts',
    help: 'Hosts by state.',
    labelNames: ['state'],
    registers: [metrics],
  })
  const incidents = new Gauge({
    name: 'firebreak_triage_incidents_current',
    help: 'Incidents by status and route.',
    labelNames: ['status', 'route'],
    registers: [metrics],
  })
  const commands = new Gauge({
    name: 'firebreak_orders_commands_current',
    help: 'Commands by state.',
    labelNames: ['state'],
    registers: [metrics],
  })
  const batches = new Gauge({
    name: 'firebreak_ingest_batches_waiting',
    help: 'Acked batches that are not yet both detected upon and in the telemetry store.',
    registers: [metrics],
  })

  api.get(
    '/metrics',
    {
      config: { rateLimit: false },
      schema: { tags: ['system'], summary: 'Figures for Prometheus', produces: ['text/plain'] },
    },
    async (_request, reply) => {
      await collect()
      return await reply.type(metrics.contentType).send(await metrics.metrics())
    },
  )

  async function collect(): Promise<void> {
    const [hostRows, incidentRows, commandRows, waiting] = await Promise.all([
      db.selectFrom('hosts').select(['connected_session', 'revoked_at']).where('imported_at', 'is', null).execute(),
      db
        .selectFrom('incidents')
        .select((eb) => ['status', 'route', eb.fn.countAll<number>().as('count')])
        .groupBy(['status', 'route'])
        .execute(),
      db
        .selectFrom('commands')
        .select((eb) => ['state', eb.fn.countAll<number>().as('count')])
        .groupBy('state')
        .execute(),
      db
        .selectFrom('ingest_batches')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow(),
    ])
    hosts.set({ state: 'online' }, hostRows.filter((row) => row.connected_session !== null).length)
    hosts.set({ state: 'revoked' }, hostRows.filter((row) => row.revoked_at !== null).length)
    hosts.set(
      { state: 'offline' },
      hostRows.filter((row) => row.connected_session === null && row.revoked_at === null).length,
    )
    incidents.reset()
    for (const { status, route, count } of incidentRows) incidents.set({ status, route }, count)
    for (const state of COMMAND_STATES)
      commands.set({ state }, commandRows.find((row) => row.state === state)?.count ?? 0)
    batches.set(waiting.count)
  }
}
