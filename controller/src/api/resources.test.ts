import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AGENT, type ApiUnderTest, fitsItsSchema, OTHER_AGENT, startApi } from './api.fixture.ts'
import { seedIncident } from './incident.fixture.ts'

let door: ApiUnderTest
beforeEach(async () => {
  door = await startApi()
})
afterEach(async () => {
  await door.stop()
})

async function audited(action: string) {
  return await door.state.db.selectFrom('audit').selectAll().where('action', '=', action).execute()
}

const isolation = {
  agent_id: AGENT,
  type: 'isolate-host',
  args: { hold_s: 3_600, on_controller_loss: 'hold' },
  reason: 'looks bad',
}

describe('hosts', () => {
  it('come in pages that neither repeat nor skip one while others join', async () => {
    for (let i = 0; i < 5; i++) await door.addHost(`${'a'.repeat(25)}${'bcdef'[i]}`, `host-${i}`)
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const url: string = `/api/v1/hosts?limit=2${cursor === null ? '' : `&cursor=${cursor}`}`
      const page = (await door.ask('viewer', { url })).json<{ items: { hostname: string }[]; next: string | null }>()
      seen.push(...page.items.map((host) => host.hostname))
      if (cursor === null) await door.addHost(`${'a'.repeat(25)}z`, 'a-newcomer')
      cursor = page.next
    } while (cursor !== null)
    expect(seen).toEqual(['host-0', 'host-1', 'host-2', 'host-3', 'host-4'])
  })

  it('are changed only by who saw what they are now, and the log tells before and after', async () => {
    await door.addHost(AGENT, 'web-1')
    const url = `/api/v1/hosts/${AGENT}`
    const seen = await door.ask('engineer', { url })
    const etag = String(seen.headers['etag'])
    const blind = await door.ask('engineer', { method: 'PATCH', url, payload: { protected: true } })
    expect([blind.statusCode, blind.json()]).toMatchObject([428, { code: 'precondition_required' }])
    const first = await door.ask('engineer', {
      method: 'PATCH',
      url,
      headers: { 'if-match': etag },
      payload: { protected: true, tags: ['dc-1'], reason: 'domain controller' },
    })
    expect(first.json()).toMatchObject({ protected: true, tags: ['dc-1'] })
    const late = await door.ask('engineer', {
      method: 'PATCH',
      url,
      headers: { 'if-match': etag },
      payload: { protected: false },
    })
    expect([late.statusCode, late.json()]).toMatchObject([412, { code: 'precondition_failed' }])
    const second = await door.ask('engineer', {
      method: 'PATCH',
      url,
      headers: { 'if-match': String(first.headers['etag']) },
      payload: { criticality: 'critical' },
    })
    expect(second.statusCode).toBe(200)
    const [record] = await audited('fleet.host.changed')
    expect(JSON.parse(record?.detail ?? '')).toMatchObject({
      before: { protected: false, tags: [] },
      after: { protected: true, tags: ['dc-1'] },
      reason: 'domain controller',
    })
    expect(record?.actor).toBe('user:engineer-1')
  })

  it('keep their tag while the host only says hello', async () => {
    await door.addHost(AGENT, 'web-1')
    const url = `/api/v1/hosts/${AGENT}`
    const { headers } = await door.ask('engineer', { url })
    await door.state.write(async (tx) => {
      await tx.updateTable('hosts').set({ last_seen_at: '2026-11-24T13:00:00.000Z', connected_session: 's' }).execute()
    })
    expect((await door.ask('engineer', { url })).headers['etag']).toBe(headers['etag'])
  })

  it('can be shut out for good', async () => {
    await door.addHost(AGENT, 'web-1')
    const url = `/api/v1/hosts/${AGENT}/revoke`
    const done = await door.ask('admin', { method: 'POST', url, payload: { reason: 'stolen' } })
    expect(done.json()).toMatchObject({ revoked_at: expect.stringMatching(/^2026/) })
    const refused = await door.ask('responder', { method: 'POST', url: '/api/v1/commands', payload: isolation })
    expect(refused.json()).toMatchObject({ code: 'revoked_host' })
  })
})

describe('commands', () => {
  beforeEach(async () => {
    await door.addHost(AGENT, 'web-1')
    await door.addHost(OTHER_AGENT, 'dc-1', { protected: 1 })
  })

  it('are queued with who, why and for which host, and the same key gives the same command', async () => {
    const order = { method: 'POST' as const, url: '/api/v1/commands', headers: { 'idempotency-key': 'k1' } }
    const first = await door.ask('responder', { ...order, payload: isolation })
    expect(first.statusCode).toBe(202)
    expect(first.json()).toMatchObject({
      type: 'isolate-host',
      agent_id: AGENT,
      actor: 'user:responder-1',
      reason: 'looks bad',
      risk: 'high',
    })
    expect(first.headers['location']).toBe(`/api/v1/commands/${first.json<{ id: string }>().id}`)
    const again = await door.ask('responder', { ...order, payload: isolation })
    expect(again.json<{ id: string }>().id).toBe(first.json<{ id: string }>().id)
    const other = await door.ask('responder', {
      ...order,
      payload: { ...isolation, args: { ...isolation.args, hold_s: 60 } },
    })
    expect([other.statusCode, other.json()]).toMatchObject([409, { code: 'conflicting_key' }])
  })

  it('are only described in a dry run', async () => {
    const answer = await door.ask('responder', {
      method: 'POST',
      url: '/api/v1/commands?dry_run=true',
      payload: isolation,
    })
    expect(answer.json()).toMatchObject({
      dry_run: true,
      hostname: 'web-1',
      connected: false,
      undone_by: 'release-host',
    })
    expect(await door.state.db.selectFrom('commands').selectAll().execute()).toEqual([])
  })

  it('show their life, can be cancelled while no host has them, and only then', async () => {
    const { id } = (await door.ask('responder', { method: 'POST', url: '/api/v1/commands', payload: isolation })).json<{
      id: string
    }>()
    const shown = await door.ask('viewer', { url: `/api/v1/commands/${id}` })
    expect(shown.json()).toMatchObject({ id, state: 'queued', receipts: [], evidence: null })
    expect(shown.json<{ transitions: { state: string }[] }>().transitions.map(({ state }) => state)).toContain('queued')
    const cancel = { method: 'POST' as const, url: `/api/v1/commands/${id}/cancel`, payload: { reason: 'a test' } }
    expect((await door.ask('responder', cancel)).json()).toMatchObject({ state: 'cancelled' })
    expect((await door.ask('responder', cancel)).json()).toMatchObject({ code: 'not_cancellable', status: 409 })
  })

  it('give the code that frees a host by hand to an admin alone, and each reading is in the log', async () => {
    const { id } = (await door.ask('responder', { method: 'POST', url: '/api/v1/commands', payload: isolation })).json<{
      id: string
    }>()
    const url = `/api/v1/commands/${id}/release-code`
    expect((await door.ask('responder', { url })).statusCode).toBe(403)
    const read = await door.ask('admin', { url })
    expect(read.json()).toMatchObject({ command_id: id, code: expect.stringMatching(/^[a-z2-7-]{23}$/) })
    const records = await door.state.db.selectFrom('audit').selectAll().where('actor', '=', 'user:admin-1').execute()
    expect(records.map((record) => record.object_id)).toContain(id)
    expect(JSON.stringify(records)).not.toContain(read.json<{ code: string }>().code)
  })

  it('for a host that is not there are refused by that name', async () => {
    const answer = await door.ask('responder', {
      method: 'POST',
      url: '/api/v1/commands',
      payload: { ...isolation, agent_id: 'z'.repeat(26) },
    })
    expect([answer.statusCode, answer.json()]).toMatchObject([404, { code: 'unknown_host' }])
  })
})

describe('incidents', () => {
  it('show everything that was seen, decided, done and proved, oldest first', async () => {
    const { incidentId } = await seedIncident(door)
    const answer = await door.ask('viewer', { url: `/api/v1/incidents/${incidentId}` })
    const page = answer.json<{ timeline: { at: string; kind: string; title: string }[] }>()
    expect(page).toMatchObject({
      incident: { id: incidentId, confidence: 93 },
      hosts: [{ hostname: 'web-1', containment: 'isolated' }],
      alerts: [{ title: expect.any(String) }],
      runs: [{ run: { playbook_id: 'contain-host' }, steps: expect.any(Array) }],
      commands: [{ type: 'isolate-host', state: 'verified' }],
    })
    const times = page.timeline.map(({ at }) => Date.parse(at))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(new Set(page.timeline.map(({ kind }) => kind))).toEqual(
      new Set(['signal', 'alert', 'incident', 'run', 'step', 'command']),
    )
  })

  it('take a verdict that closes them and their alerts, and stands in the timeline with its reason', async () => {
    const { incidentId } = await seedIncident(door)
    const url = `/api/v1/incidents/${incidentId}`
    const judged = await door.ask('analyst', {
      method: 'POST',
      url: `${url}/verdict`,
      payload: { verdict: 'true_positive', reason: 'seen it myself' },
    })
    expect(judged.json()).toMatchObject({ verdict: 'true_positive', status: 'closed' })
    const page = (await door.ask('viewer', { url })).json<{
      alerts: { status: string }[]
      timeline: { kind: string; title: string; actor: string }[]
    }>()
    expect(page.alerts.every(({ status }) => status === 'closed')).toBe(true)
    expect(page.timeline).toContainEqual(
      expect.objectContaining({
        kind: 'person',
        title: 'verdict: none → true_positive (seen it myself)',
        actor: 'user:analyst-1',
      }),
    )
  })

  it('are assigned only by who saw them as they are', async () => {
    const { incidentId } = await seedIncident(door)
    const url = `/api/v1/incidents/${incidentId}`
    const { headers } = await door.ask('analyst', { url })
    const patch = { method: 'PATCH' as const, url, headers: { 'if-match': String(headers['etag']) } }
    expect((await door.ask('analyst', { ...patch, payload: { assignee: 'ann' } })).json()).toMatchObject({
      assignee: 'ann',
    })
    expect((await door.ask('analyst', { ...patch, payload: { assignee: 'bob' } })).statusCode).toBe(412)
  })
})

describe('tokens', () => {
  it('show their secret once and keep only its digest', async () => {
    const made = await door.ask('admin', {
      method: 'POST',
      url: '/api/v1/tokens',
      payload: { name: 'ann', role: 'analyst', life_s: 3_600 },
    })
    const { secret, token } = made.json<{ secret: string; token: { id: string } }>()
    expect(secret).toMatch(/^fb_pat_[A-Za-z0-9_-]{43}$/)
    const everything = JSON.stringify([
      await door.state.db.selectFrom('api_tokens').selectAll().execute(),
      await door.state.db.selectFrom('audit').selectAll().execute(),
      (await door.ask('admin', { url: '/api/v1/tokens' })).json(),
    ])
    expect(everything).not.toContain(secret)
    expect(await audited('access.token.created')).not.toEqual([])
    const asAnn = { url: '/api/v1/whoami', headers: { authorization: `Bearer ${secret}` } }
    expect((await door.ask(null, asAnn)).json()).toMatchObject({ name: 'ann', role: 'analyst' })
    await door.clock.advance(3_600_000)
    expect((await door.ask(null, asAnn)).json()).toMatchObject({ code: 'token_expired', status: 401 })
    await door.ask('admin', { method: 'DELETE', url: `/api/v1/tokens/${token.id}` })
    expect((await door.ask(null, asAnn)).json()).toMatchObject({ code: 'token_revoked' })
    expect(await audited('access.token.revoked')).toHaveLength(1)
  })

  it('tell when they were last used, to the minute, without a write a request', async () => {
    const count = async () =>
      (await door.ask('admin', { url: '/api/v1/tokens' }))
        .json<{ items: { role: string; last_used_at: string | null }[] }>()
        .items.find(({ role }) => role === 'viewer')?.last_used_at
    expect(await count()).toBeNull()
    await door.ask('viewer', { url: '/api/v1/hosts' })
    const first = await count()
    await door.clock.advance(30_000)
    await door.ask('viewer', { url: '/api/v1/hosts' })
    expect(await count()).toBe(first)
    await door.clock.advance(31_000)
    await door.ask('viewer', { url: '/api/v1/hosts' })
    expect(await count()).not.toBe(first)
  })
})

describe('join tokens', () => {
  it('show the join string once', async () => {
    const made = await door.ask('engineer', { method: 'POST', url: '/api/v1/join-tokens', payload: { max_uses: 3 } })
    const { join_string: join, token_id: id } = made.json<{ join_string: string; token_id: string }>()
    expect(join).toMatch(/^fb1\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/)
    const list = await door.ask('engineer', { url: '/api/v1/join-tokens' })
    expect(list.json()).toMatchObject({ items: [{ token_id: id, max_uses: 3, uses: 0, group: 'default' }] })
    expect(list.body).not.toContain(join.split('.')[1])
    const gone = await door.ask('engineer', { method: 'DELETE', url: `/api/v1/join-tokens/${id}` })
    expect(gone.json()).toMatchObject({ revoked_at: expect.any(String) })
  })
})

describe('the audit log', () => {
  it('is checked, exported and found whole, and the check names a record that was changed', async () => {
    const fine = await door.ask('analyst', { url: '/api/v1/audit/verification' })
    expect(fine.json()).toMatchObject({ ok: true, records: 5 })
    const exported = await door.ask('analyst', { url: '/api/v1/audit/export' })
    expect(exported.headers['content-type']).toContain('application/x-ndjson')
    expect(exported.body.trim().split('\n')).toHaveLength(6)
    await door.state.write(async (tx) => {
      await tx.updateTable('audit').set({ actor: 'user:nobody' }).where('n', '=', 3).execute()
    })
    const broken = await door.ask('analyst', { url: '/api/v1/audit/verification' })
    expect(broken.json()).toMatchObject({ ok: false, broken_at: 3 })
  })
})

describe('every answer', () => {
  it('has the shape that its documentation promises', async () => {
    const { incidentId, commandId, alertId, runId } = await seedIncident(door)
    await door.ask('engineer', { method: 'POST', url: '/api/v1/join-tokens', payload: {} })
    await door.state.write(async (tx) => {
      const row = { agent_id: AGENT, epoch: incidentId, class: 'process', updated_at: '2026-11-24T12:00:00.000Z' }
      const counts = { acked_seq: 9, stored: 8, dropped: 1, invalid: 0, produced: 12, spooled: 3, reported_dropped: 0 }
      await tx
        .insertInto('streams')
        .values({ ...row, ...counts })
        .execute()
    })
    const asked: [string, string][] = [
      ['/healthz', '/healthz'],
      ['/readyz', '/readyz'],
      ['/api/v1/whoami', '/api/v1/whoami'],
      ['/api/v1/system', '/api/v1/system'],
      ['/api/v1/system/streams', '/api/v1/system/streams'],
      ['/api/v1/hosts', '/api/v1/hosts'],
      ['/api/v1/hosts/:agent_id', `/api/v1/hosts/${AGENT}`],
      ['/api/v1/join-tokens', '/api/v1/join-tokens'],
      ['/api/v1/incidents', '/api/v1/incidents'],
      ['/api/v1/incidents/:id', `/api/v1/incidents/${incidentId}`],
      ['/api/v1/alerts', '/api/v1/alerts'],
      ['/api/v1/alerts/:id', `/api/v1/alerts/${alertId}`],
      ['/api/v1/runs', '/api/v1/runs'],
      ['/api/v1/runs/:id', `/api/v1/runs/${runId}`],
      ['/api/v1/commands', '/api/v1/commands'],
      ['/api/v1/commands/:id', `/api/v1/commands/${commandId}`],
      ['/api/v1/events', '/api/v1/events'],
      ['/api/v1/rules', '/api/v1/rules'],
      ['/api/v1/playbooks', '/api/v1/playbooks'],
      ['/api/v1/audit', '/api/v1/audit'],
      ['/api/v1/audit/verification', '/api/v1/audit/verification'],
      ['/api/v1/tokens', '/api/v1/tokens'],
    ]
    for (const [route, url] of asked) {
      const answer = await door.ask('admin', { url })
      expect(answer.statusCode, `${url} ${answer.body.slice(0, 300)}`).toBe(200)
      expect(fitsItsSchema(door.api, 'GET', route, 200, answer.json()), route).toEqual([])
    }
    const streams = await door.ask('viewer', { url: '/api/v1/system/streams' })
    expect(streams.json()).toMatchObject({
      items: [{ produced: 12, stored: 8, spooled: 3, dropped: 1, unaccounted: 0 }],
    })
  })
})
