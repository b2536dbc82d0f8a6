/** Who asks, and whether they may. Runs before the body is read, for every route there is. */
import { Fault } from '@firebreak/shared/result.ts'
import type { FastifyRequest } from 'fastify'
import { createGuessLimit } from '../access/guess-limit.ts'
import type { Principal } from '../access/index.ts'
import { may } from '../access/rights.ts'
import { guardOf } from '../access/route-rights.ts'
import type { Actor } from '../orders/orders.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { ProblemError } from './problem.ts'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null
  }
  interface FastifyInstance {
    /** `METHOD /url` of every route, and of those that access/route-rights.ts does not know. */
    routeInventory: { readonly all: ReadonlySet<string>; readonly undecided: ReadonlySet<string> }
  }
}

/** Before any route is added. With a route that nobody decided about the server does not start. */
export function guardRoutes(api: Api, { tokens, clock, log }: Pick<ApiDeps, 'tokens' | 'clock' | 'log'>): void {
  const guesses = createGuessLimit(clock)
  const inventory = { all: new Set<string>(), undecided: new Set<string>() }
  api.decorate('routeInventory', inventory)
  api.decorateRequest('principal', null)

  api.addHook('onRoute', ({ method, url }) => {
    for (const one of Array.isArray(method) ? method : [method]) {
      inventory.all.add(`${one} ${url}`)
      if (guardOf(one, url) === undefined) inventory.undecided.add(`${one} ${url}`)
    }
  })

  api.addHook('onReady', async () => {
    if (inventory.undecided.size > 0)
      throw new Fault(
        'route_without_right',
        `access/route-rights.ts has no entry for ${[...inventory.undecided].join(', ')}`,
      )
  })

  api.addHook('onRequest', async (request, reply) => {
    if (request.is404) return
    const guard = guardOf(request.method, request.routeOptions.url ?? '')
    if (guard === 'public') return
    const secret = bearerOf(request.headers.authorization)
    if (secret === undefined) throw new ProblemError('unauthenticated', 'send Authorization: Bearer fb_pat_...')
    const who = await tokens.authenticate(secret)
    if (!who.ok) {
      const waitMs = guesses.failed(request.ip)
      if (waitMs > 0) {
        reply.header('retry-after', Math.ceil(waitMs / 1000))
        throw new ProblemError('rate_limited', 'too many wrong tokens from this address')
      }
      log.warn({ request_id: request.id, 'source.ip': request.ip, code: who.code }, 'api.request.unauthenticated')
      throw new ProblemError(who.code, who.why)
    }
    if (guard === undefined || !may(who.value.role, guard)) {
      log.warn(
        { request_id: request.id, 'user.name': who.value.name, right: guard, route: request.routeOptions.url },
        'api.request.forbidden',
      )
      throw new ProblemError('forbidden', `the role ${who.value.role} does not hold the right ${guard}`)
    }
    request.principal = who.value
  })
}

export function principalOf(request: FastifyRequest): Principal {
  if (!request.principal) throw new Fault('no_principal', 'a public route asked who is there')
  return request.principal
}

export function actorOf(request: FastifyRequest): Actor & { readonly kind: 'user' } {
  const { name, role } = principalOf(request)
  return { kind: 'user', name, role }
}

/** As the audit log writes it. */
export function actorText(request: FastifyRequest): string {
  return `user:${principalOf(request).name}`
}

function bearerOf(header: string | undefined): string | undefined {
  const match = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(header ?? '')
  return match?.[1]
}
