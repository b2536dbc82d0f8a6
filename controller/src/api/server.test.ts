import { ROUTE_RIGHTS } from '../access/route-rights.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ApiUnderTest, startApi } from './api.fixture.ts'

let it_: ApiUnderTest
beforeEach(async () => {
  it_ = await startApi()
})
afterEach(async () => {
  await it_.stop()
})
describe('x', () => {
  it('starts', async () => {
    console.log(it_.api.printRoutes({ commonPrefix: false }))
    for (const url of [
      '/healthz',
      '/readyz',
      '/metrics',
      '/docs',
      '/docs/',
      '/openapi.json',
      '/api/v1/hosts',
      '/api/v1/system',
      '/nope',
      '/docs/static/swagger-ui.css',
    ]) {
      const r = await it_.call(url.startsWith('/api') ? 'admin' : null, { url })
      console.log(url, r.statusCode, r.headers['content-type'], r.body.slice(0, 300))
    }
    const r = await it_.call('admin', { url: '/api/v1/hosts?limit=0&x=1' })
    console.log(r.body)
    console.log(
      (
        await it_.call('admin', {
          method: 'POST',
          url: '/api/v1/commands',
          payload: { agent_id: 'x', type: 'isolate-host', nope: 1, args: {} },
        })
      ).body,
    )
    console.log((await it_.call(null, { url: '/api/v1/hosts' })).body)
    console.log(
      (
        await it_.call('admin', {
          method: 'POST',
          url: '/api/v1/commands',
          payload: '{',
          headers: { 'content-type': 'application/json' },
        })
      ).body,
    )
    console.log(
      (
        await it_.call('admin', {
          method: 'POST',
          url: '/api/v1/commands',
          payload: '<x/>',
          headers: { 'content-type': 'text/xml' },
        })
      ).body,
    )
  })
})
