/** The HTTP door: one Fastify server whose OpenAPI document, validation and rights all come from the routes. */
import type { IncomingMessage } from 'node:http'
import type { ServerOptions } from 'node:https'
import rateLimit from '@fastify/rate-limit'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import Fastify, { LogController } from 'fastify'
import { alertRoutes } from './alerts.ts'
import type { Api } from './api.ts'
import type { ApiConfig } from './api-config.ts'
import type { ApiDeps } from './api-deps.ts'
import { auditRoutes } from './audit.ts'
import { guardRoutes } from './authenticate.ts'
import { backupRoutes } from './backups.ts'
import { commandRoutes } from './commands.ts'
import { eventExportRoutes } from './event-export.ts'
import { eventSightingRoutes } from './event-sightings.ts'
import { eventTreeRoutes } from './event-tree.ts'
import { eventRoutes } from './events.ts'
import { answerFailures } from './failures.ts'
import { healthRoutes } from './health.ts'
import { coverageRoutes } from './coverage.ts'
import { hostRoutes } from './hosts.ts'
import { importRoutes } from './imports.ts'
import { incidentRoutes } from './incidents.ts'
import { indicatorRoutes } from './indicators.ts'
import { inventoryRoutes } from './inventory.ts'
import { joinTokenRoutes } from './join-tokens.ts'
import { measureRequests, metricsRoutes } from './metrics.ts'
import { openApi } from './open-api.ts'
import { playbookRoutes } from './playbooks.ts'
import { ruleRoutes } from './rules.ts'
import { runRoutes } from './runs.ts'
import { DOCS_CSP, secureHeaders } from './secure-headers.ts'
import { streamRoutes } from './stream.ts'
import { systemRoutes } from './system.ts'
import { tokenRoutes } from './tokens.ts'
import { verdictRoutes } from './verdicts.ts'
import { compileValidator } from './validate.ts'

export interface TlsMaterial {
  readonly key: string
  readonly cert: string
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

/** Routes in, nothing listening yet. With `tls` it speaks TLS 1.3 only. */
export async function createApi(deps: ApiDeps, config: ApiConfig, tls?: TlsMaterial): Promise<Api> {
  const api = bareServer(deps, config, tls)
  api.setValidatorCompiler(compileValidator)
  // Views are built field by field, so a serializer would only repeat the schema; a test holds every answer against it.
  api.setSerializerCompiler(() => (body) => JSON.stringify(body))
  secureHeaders(api)
  answerFailures(api, deps)
  measureRequests(api, deps)
  guardRoutes(api, deps)
  await api.register(rateLimit, { max: config.requests_per_minute, timeWindow: 60_000, cache: 10_000 })
  await api.register(swagger, openApi)
  await api.register(swaggerUi, { routePrefix: '/docs', staticCSP: DOCS_CSP })
  for (const routes of [
    healthRoutes,
    metricsRoutes,
    systemRoutes,
    backupRoutes,
    hostRoutes,
    inventoryRoutes,
    coverageRoutes,
    joinTokenRoutes,
    incidentRoutes,
    alertRoutes,
    runRoutes,
    commandRoutes,
    eventRoutes,
    importRoutes,
    eventTreeRoutes,
    eventSightingRoutes,
    eventExportRoutes,
    ruleRoutes,
    indicatorRoutes,
    playbookRoutes,
    verdictRoutes,
    auditRoutes,
    tokenRoutes,
  ])
    routes(api, deps)
  streamRoutes(api, deps, config)
  api.get('/', { schema: { hide: true } }, (_request, reply) => reply.redirect('/docs'))
  api.get('/openapi.json', { schema: { hide: true } }, () => api.swagger())
  await api.ready()
  return api
}

function bareServer(deps: ApiDeps, config: ApiConfig, tls: TlsMaterial | undefined): Api {
  const https: ServerOptions | null = tls ? { key: tls.key, cert: tls.cert, minVersion: 'TLSv1.3' } : null
  return Fastify({
    https,
    loggerInstance: deps.log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    bodyLimit: config.max_body_bytes,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    genReqId: (request) => requestIdOf(request) ?? uuidv7(deps.clock.now()),
    forceCloseConnections: true,
    requestTimeout: 30_000,
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    routerOptions: { maxParamLength: 256 },
  }).withTypeProvider<TypeBoxTypeProvider>()
}

/** A caller's own request id is taken over when it is harmless in a log. */
function requestIdOf(request: IncomingMessage): string | undefined {
  const header = request.headers['x-request-id']
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : undefined
}
