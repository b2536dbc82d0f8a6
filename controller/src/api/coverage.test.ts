import { afterEach, beforeEach, expect, it } from 'vitest'
import { AGENT, type ApiUnderTest, fitsItsSchema, OTHER_AGENT, processRule, startApi } from './api.fixture.ts'
import type { HostCoverageShown, RuleCoverageShown } from './coverage.ts'

const RULE = 'a1b2c3'

let door: ApiUnderTest
beforeEach(async () => {
  door = await startApi()
  await door.addHost(AGENT, 'web-1', { connected_session: 's' })
  await door.addHost(OTHER_AGENT, 'db-1', { last_seen_at: iso(-30) })
  door.rules.push(processRule(RULE, 'Reverse Shell'))
})
afterEach(async () => {
  await door.stop()
})

const iso = (minutes: number) => new Date(door.clock.now() + minutes * 60_000).toISOString()

async function gap(agentId: string, eventClass: string, events: number, from: number, to: number): Promise<void> {
  await door.state.write((tx) =>
    tx
      .insertInto('gaps')
      .values({
        agent_id: agentId,
        epoch: 'e',
        class: eventClass,
        from_seq: 1,
        to_seq: events,
        reason: 'kernel_overflow',
        recorded_at: iso(0),
        first_at: iso(from),
        last_at: iso(to),
      })
      .execute(),
  )
}

it('says of a rule on which hosts it was blind, when, why and for how many events, and of which it is not known', async () => {
  await gap(AGENT, 'process', 1_204, -600, -585)
  await gap(AGENT, 'network', 9, -600, -585)
  await gap(OTHER_AGENT, 'process', 3, -3_000, -2_990)
  const answer = await door.ask('viewer', { url: `/api/v1/rules/${RULE}/coverage` })
  expect(answer.statusCode).toBe(200)
  expect(fitsItsSchema(door.api, 'GET', '/api/v1/rules/:id/coverage', 200, answer.json())).toEqual([])
  const found = answer.json<RuleCoverageShown>()
  expect(found).toMatchObject({
    rule: { id: RULE, title: 'Reverse Shell', classes: ['process'] },
    hosts: 2,
    blind_hosts: 1,
    partly_blind_hosts: 0,
    since: iso(-1_440),
    truncated: false,
    waiting: [{ agent_id: OTHER_AGENT, hostname: 'db-1', since: iso(-30) }],
  })
  expect(found.windows).toEqual([
    {
      agent_id: AGENT,
      hostname: 'web-1',
      class: 'process',
      source: 'none',
      quality: 'blind',
      reason: 'kernel_overflow',
      why: null,
      from: iso(-600),
      to: iso(-585),
      events: 1_204,
    },
  ])
  const longer = await door.ask('viewer', { url: `/api/v1/rules/${RULE}/coverage?since=${iso(-4_000)}` })
  expect(longer.json<RuleCoverageShown>()).toMatchObject({ blind_hosts: 2 })
})

it('says of a host what it could not see, and refuses what is not there or no time', async () => {
  await gap(AGENT, 'network', 9, -60, -50)
  const answer = await door.ask('viewer', { url: `/api/v1/hosts/${AGENT}/coverage` })
  expect(fitsItsSchema(door.api, 'GET', '/api/v1/hosts/:agent_id/coverage', 200, answer.json())).toEqual([])
  expect(answer.json<HostCoverageShown>().windows).toMatchObject([{ class: 'network', events: 9, to: iso(-50) }])
  const ask = async (url: string) => (await door.ask('viewer', { url })).statusCode
  expect(await ask(`/api/v1/hosts/${'z'.repeat(26)}/coverage`)).toBe(404)
  expect(await ask('/api/v1/rules/none/coverage')).toBe(404)
  expect(await ask(`/api/v1/hosts/${AGENT}/coverage?since=yesterday`)).toBe(400)
})
