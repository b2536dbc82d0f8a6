import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AGENT, type ApiUnderTest, startApi } from './api.fixture.ts'

let door: ApiUnderTest
beforeAll(async () => {
  door = await startApi({ config: { max_body_bytes: 2_048 } })
  await door.addHost(AGENT, 'web-1')
})
afterAll(async () => {
  await door.stop()
})

const json = { 'content-type': 'application/json' }

describe('a refusal', () => {
  it.each([
    ['an unknown field', { tags: [], nope: 1 }, 'body.nope', 'is not known'],
    ['a value of the wrong type', { protected: 'yes' }, 'body.protected', 'must be boolean'],
    [
      'a value outside of its set',
      { criticality: 'huge' },
      'body.criticality',
      'must be one of low, normal, high, critical',
    ],
    ['a tag that could break a query', { tags: ['a b'] }, 'body.tags.0', undefined],
  ])('names the field: %s', async (_what, payload, field, why) => {
    const answer = await door.ask('engineer', {
      method: 'PATCH',
      url: `/api/v1/hosts/${AGENT}`,
      headers: { 'if-match': '*' },
      payload,
    })
    expect(answer.statusCode).toBe(400)
    const problem = answer.json<{ code: string; errors: { field: string; why: string }[] }>()
    expect(problem.code).toBe('bad_request')
    expect(problem.errors[0]).toMatchObject(why === undefined ? { field } : { field, why })
  })

  it('names the parameter of a query, too, and knows no others', async () => {
    const answer = await door.ask('viewer', { url: '/api/v1/hosts?limit=0&sort=name' })
    expect(answer.json()).toMatchObject({
      code: 'bad_request',
      errors: expect.arrayContaining([
        { field: 'query.sort', why: 'is not known' },
        { field: 'query.limit', why: 'must be >= 1' },
      ]),
    })
  })

  it('does not turn text into numbers or the other way round in a body', async () => {
    const answer = await door.ask('responder', {
      method: 'POST',
      url: '/api/v1/commands',
      payload: {
        agent_id: AGENT,
        type: 'isolate-host',
        reason: 'x',
        args: { hold_s: '3600', on_controller_loss: 'hold' },
      },
    })
    expect(answer.statusCode).toBe(422)
    expect(answer.json()).toMatchObject({
      code: 'bad_args',
      errors: [{ field: 'body.args.hold_s', why: 'must be integer' }],
    })
  })

  it('is the same kind of body for every cause', async () => {
    const causes = [
      [await door.ask('admin', { url: '/api/v1/nowhere' }), 404, 'not_found'],
      [await door.ask('admin', { url: `/api/v1/hosts/${'z'.repeat(26)}` }), 404, 'not_found'],
      [
        await door.ask('admin', { method: 'POST', url: '/api/v1/tokens', headers: json, payload: '{' }),
        400,
        'malformed',
      ],
      [
        await door.ask('admin', {
          method: 'POST',
          url: '/api/v1/tokens',
          headers: json,
          payload: '{"__proto__":{"role":"admin"}}',
        }),
        400,
        'malformed',
      ],
      [
        await door.ask('admin', {
          method: 'POST',
          url: '/api/v1/tokens',
          headers: { 'content-type': 'text/xml' },
          payload: '<a/>',
        }),
        415,
        'unsupported_media_type',
      ],
      [
        await door.ask('admin', { method: 'POST', url: '/api/v1/tokens', payload: { name: 'x'.repeat(4_000) } }),
        413,
        'too_large',
      ],
      [await door.ask('admin', { url: '/api/v1/hosts?cursor=bm90IG91cnM' }), 400, 'bad_cursor'],
      [await door.ask('viewer', { url: '/api/v1/tokens' }), 403, 'forbidden'],
    ] as const
    for (const [answer, status, code] of causes) {
      expect(answer.statusCode, code).toBe(status)
      expect(answer.headers['content-type'], code).toContain('application/problem+json')
      expect(answer.json()).toMatchObject({
        type: `urn:firebreak:problem:${code}`,
        title: expect.any(String),
        status,
        detail: expect.any(String),
        code,
        request_id: answer.headers['x-request-id'],
      })
    }
  })

  it('keeps the cause of a fault in the log, under the request id that the caller gets', async () => {
    const broken = await startApi({
      deps: {
        playbooks: {
          playbookList: () => {
            throw new Error('secret inner detail')
          },
        },
      },
    })
    const answer = await broken.ask('viewer', { url: '/api/v1/playbooks' })
    expect(answer.statusCode).toBe(500)
    expect(answer.json()).toMatchObject({ code: 'internal' })
    expect(answer.body).not.toContain('secret inner detail')
    await broken.stop()
  })
})

describe('a request id', () => {
  it('is the caller’s own when it is harmless, and a new one otherwise', async () => {
    const own = await door.ask('viewer', { url: '/api/v1/hosts', headers: { 'x-request-id': 'trace-42' } })
    expect(own.headers['x-request-id']).toBe('trace-42')
    const bad = await door.ask('viewer', { url: '/api/v1/hosts', headers: { 'x-request-id': 'a b\u001b[31m' } })
    expect(bad.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('an answer', () => {
  it('can never be run as a page, and is never cached', async () => {
    const { headers } = await door.ask('viewer', { url: '/api/v1/hosts' })
    expect(headers).toMatchObject({
      'content-security-policy': expect.stringContaining("default-src 'none'"),
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cache-control': 'no-store',
      'content-type': expect.stringContaining('application/json'),
    })
  })

  it('carries what a host calls itself as data, byte for byte', async () => {
    const name = '<img src=x onerror=alert(1)>\u202egnp.exe'
    await door.addHost('ccccccccccddddeeeeffff4444', name)
    const answer = await door.ask('viewer', { url: '/api/v1/hosts/ccccccccccddddeeeeffff4444' })
    expect(answer.json()).toMatchObject({ hostname: name })
    expect(answer.headers['content-type']).toContain('application/json')
  })
})

describe('too many requests', () => {
  it('are refused with the time to wait, for each address on its own', async () => {
    const small = await startApi({ config: { requests_per_minute: 10 } })
    for (let i = 0; i < 10; i++) expect((await small.ask('viewer', { url: '/api/v1/hosts' })).statusCode).toBe(200)
    const refused = await small.ask('viewer', { url: '/api/v1/hosts' })
    expect(refused.statusCode).toBe(429)
    expect(refused.json()).toMatchObject({ code: 'rate_limited' })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    const other = await small.ask('viewer', { url: '/api/v1/hosts', remoteAddress: '192.0.2.77' })
    expect(other.statusCode).toBe(200)
    expect((await small.ask(null, { url: '/healthz' })).statusCode, 'health is never limited').toBe(200)
    await small.stop()
  })

  it('with wrong tokens are cut off after 20, while a right token from the same address still passes', async () => {
    const guarded = await startApi()
    const wrong = { url: '/api/v1/hosts', headers: { authorization: `Bearer fb_pat_${'A'.repeat(43)}` } }
    for (let i = 0; i < 20; i++) expect((await guarded.ask(null, wrong)).statusCode).toBe(401)
    const cut = await guarded.ask(null, wrong)
    expect(cut.statusCode).toBe(429)
    expect(Number(cut.headers['retry-after'])).toBeLessThanOrEqual(60)
    expect((await guarded.ask('viewer', { url: '/api/v1/hosts' })).statusCode).toBe(200)
    await guarded.clock.advance(60_000)
    expect((await guarded.ask(null, wrong)).statusCode).toBe(401)
    await guarded.stop()
  })
})
