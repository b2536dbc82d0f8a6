/**
 * Every route of the API and the right it asks for. The server refuses to start with a route that is not here, so nothing can be
 * opened by forgetting. `public` routes tell nothing about hosts, incidents or people.
 */
import type { Right } from './rights.ts'

export type Guard = Right | 'public'

export const ROUTE_RIGHTS = {
  'GET /': 'public',
  'GET /healthz': 'public',
  'GET /readyz': 'public',
  'GET /metrics': 'public',
  'GET /openapi.json': 'public',
  'GET /docs': 'public',
  'GET /docs/json': 'public',
  'GET /docs/yaml': 'public',
  'GET /docs/static/*': 'public',
  'HEAD /docs/static/*': 'public',
  'GET /docs/static/index.html': 'public',
  'GET /docs/static/swagger-initializer.js': 'public',

  'GET /api/v1/whoami': 'system:read',
  'GET /api/v1/system': 'system:read',
  'GET /api/v1/system/streams': 'system:read',
  'POST /api/v1/system/backups': 'admin',
  'GET /api/v1/system/backups/:name': 'admin',
  'GET /api/v1/stream': 'system:read',

  'GET /api/v1/hosts': 'fleet:read',
  'GET /api/v1/hosts/:agent_id': 'fleet:read',
  'GET /api/v1/hosts/:agent_id/coverage': 'fleet:read',
  'GET /api/v1/hosts/:agent_id/inventory': 'fleet:read',
  'GET /api/v1/hosts/:agent_id/inventory/:kind': 'fleet:read',
  'PATCH /api/v1/hosts/:agent_id': 'fleet:write',
  'POST /api/v1/hosts/:agent_id/revoke': 'admin',
  'GET /api/v1/join-tokens': 'fleet:enrol',
  'POST /api/v1/join-tokens': 'fleet:enrol',
  'DELETE /api/v1/join-tokens/:token_id': 'fleet:enrol',

  'GET /api/v1/incidents': 'incidents:read',
  'GET /api/v1/incidents/:id': 'incidents:read',
  'PATCH /api/v1/incidents/:id': 'incidents:write',
  'POST /api/v1/incidents/:id/verdict': 'incidents:write',
  'GET /api/v1/alerts': 'incidents:read',
  'GET /api/v1/alerts/:id': 'incidents:read',
  'POST /api/v1/alerts/:id/verdict': 'incidents:write',
  'GET /api/v1/playbooks': 'rules:read',
  'GET /api/v1/runs': 'incidents:read',
  'GET /api/v1/runs/:id': 'incidents:read',

  'GET /api/v1/commands': 'commands:read',
  'POST /api/v1/commands': 'commands:run',
  'GET /api/v1/commands/:id': 'commands:read',
  'POST /api/v1/commands/:id/cancel': 'commands:run',
  'GET /api/v1/commands/:id/release-code': 'admin',

  'GET /api/v1/events': 'events:read',
  'GET /api/v1/events/fields': 'events:read',
  'GET /api/v1/events/tree': 'events:read',
  'GET /api/v1/events/seen': 'events:read',
  'GET /api/v1/events/prevalence': 'events:read',
  'GET /api/v1/events/export': 'events:export',
  'GET /api/v1/imports': 'events:read',
  'POST /api/v1/imports': 'events:import',
  'GET /api/v1/imports/:id': 'events:read',
  'POST /api/v1/imports/:id/lines': 'events:import',
  'POST /api/v1/imports/:id/complete': 'events:import',
  'GET /api/v1/rules': 'rules:read',
  'GET /api/v1/rules/:id/coverage': 'rules:read',

  'GET /api/v1/indicators': 'indicators:read',
  'POST /api/v1/indicators': 'indicators:write',
  'GET /api/v1/indicators/lookup': 'indicators:read',
  'GET /api/v1/indicators/patterns': 'indicators:read',
  'GET /api/v1/indicators/hunts': 'indicators:read',
  'GET /api/v1/indicators/:id': 'indicators:read',
  'POST /api/v1/indicators/:id/expire': 'indicators:write',
  'GET /api/v1/indicator-feeds': 'indicators:read',
  'POST /api/v1/indicator-feeds': 'indicators:feeds',
  'POST /api/v1/indicator-feeds/:name/fetch': 'indicators:feeds',
  'DELETE /api/v1/indicator-feeds/:name': 'indicators:feeds',

  'GET /api/v1/audit': 'audit:read',
  'GET /api/v1/audit/verification': 'audit:read',
  'GET /api/v1/audit/export': 'audit:read',

  'GET /api/v1/tokens': 'admin',
  'POST /api/v1/tokens': 'admin',
  'DELETE /api/v1/tokens/:id': 'admin',
} as const satisfies Readonly<Record<string, Guard>>

export type Route = keyof typeof ROUTE_RIGHTS

export function guardOf(method: string, url: string): Guard | undefined {
  const key = `${method} ${url}`
  return Object.hasOwn(ROUTE_RIGHTS, key) ? ROUTE_RIGHTS[key as Route] : undefined
}
