import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { may } from '../access/rights.ts'
import { guardOf, ROUTE_RIGHTS, type Route } from '../access/route-rights.ts'
import { ROLES } from '../orders/orders.ts'
import { type ApiUnderTest, startApi } from './api.fixture.ts'
import { guardRoutes } from './authenticate.ts'

let door: ApiUnderTest
beforeAll(async () => {
  door = await startApi()
})
afterAll(async () => {
  await door.stop()
})

const routes = Object.keys(ROUTE_RIGHTS) as Route[]
const AN_ID = '00000000-0000-7000-8000-000000000000'

/** A path that reaches the route; what it finds there does not matter. */
function pathOf(route: Route): { method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'HEAD'; url: string } {
  const [method, url = ''] = route.split(' ')
  return {
    method: method as 'GET',
    url: url
      .replace(':agent_id', 'aaaabbbbccccddddeeeeffff22')
      .replace(':token_id', '0'.repeat(32))
      .replace(':id', AN_ID)
      .replace('*', 'index.css'),
  }
}

describe('every door', () => {
  it('is in the table of rights, and the table names no door that is not there', () => {
    const known = new Set<string>(routes)
    const there = door.api.routeInventory.all
    expect([...there].filter((route) => !known.has(route))).toEqual([])
    expect(routes.filter((route) => !there.has(route))).toEqual([])
  })

  it('keeps the server from starting when nobody decided who may open it', async () => {
    const other = await startApi()
    try {
      const { default: Fastify } = await import('fastify')
      const bare = Fastify({ exposeHeadRoutes: false })
      guardRoutes(bare as unknown as ApiUnderTest['api'], other.deps)
      bare.get('/api/v1/secrets', () => 'all of them')
      await expect(bare.ready()).rejects.toThrow('has no entry for GET /api/v1/secrets')
      await bare.close()
    } finally {
      await other.stop()
    }
  })

  const guarded = routes.filter((route) => ROUTE_RIGHTS[route] !== 'public' && route !== 'GET /api/v1/stream')
  it.each(guarded)('%s opens to the roles that hold its right and to nobody else', async (route) => {
    const guard = guardOf(...(route.split(' ') as [string, string]))
    expect((await door.ask(null, pathOf(route))).statusCode).toBe(401)
    for (const role of ROLES) {
      const { statusCode } = await door.ask(role, pathOf(route))
      const allowed = guard !== undefined && guard !== 'public' && may(role, guard)
      if (allowed) expect([401, 403], `${role} at ${route}`).not.toContain(statusCode)
      else expect(statusCode, `${role} at ${route}`).toBe(403)
    }
  })

  it('asks before it reads the body: a stranger cannot make it parse anything', async () => {
    const answer = await door.ask(null, {
      method: 'POST',
      url: '/api/v1/commands',
      headers: { 'content-type': 'application/json' },
      payload: '{ this is no JSON',
    })
    expect(answer.json()).toMatchObject({ code: 'unauthenticated', status: 401 })
  })

  it('answers a stranger with a challenge and a problem that says what to send', async () => {
    const answer = await door.ask(null, { url: '/api/v1/hosts' })
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="firebreak"')
    expect(answer.headers['content-type']).toContain('application/problem+json')
  })

  it('shows the documentation to everybody, with or without a slash at the end', async () => {
    for (const url of ['/docs', '/docs/', '/docs/static/swagger-ui.css', '/docs/json', '/openapi.json'])
      expect((await door.ask(null, { url })).statusCode, url).toBe(200)
    expect((await door.ask(null, { url: '/openapi.json' })).json()).toMatchObject({ openapi: '3.1.0' })
  })

  it('documents each door under a name of its own, with what it answers when all is well', async () => {
    interface Operation {
      readonly operationId?: string
      readonly responses: Readonly<
        Record<string, { readonly content?: Readonly<Record<string, { schema?: unknown }>> }>
      >
    }
    const { paths } = (await door.ask(null, { url: '/openapi.json' })).json<{
      paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
    }>()
    const operations = Object.values(paths).flatMap((path) => Object.values(path))
    const names = operations.map(({ operationId }) => operationId)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toContain('postCommandsByIdCancel')
    for (const { operationId, responses } of operations) {
      const good = Object.entries(responses).filter(([status]) => status.startsWith('2'))
      expect(good.length, operationId).toBeGreaterThan(0)
      for (const [, { content = {} }] of good)
        expect(new Set(Object.values(content).map(({ schema }) => typeof schema)), operationId).toEqual(
          new Set(['object']),
        )
    }
  })

  it('leads a browser from the bare address to the documentation', async () => {
    expect((await door.ask(null, { url: '/' })).headers['location']).toBe('/docs')
  })

  it('takes no token from the address line, where logs would keep it', async () => {
    const secret = door.secretOf('admin')
    expect((await door.ask(null, { url: `/api/v1/hosts?token=${secret}` })).statusCode).toBe(401)
  })
})
