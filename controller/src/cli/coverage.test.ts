import { afterEach, beforeEach, expect, it } from 'vitest'
import { AGENT, OTHER_AGENT, processRule } from '../api/api.fixture.ts'
import { startCli } from './cli.fixture.ts'

let cli: Awaited<ReturnType<typeof startCli>>
beforeEach(async () => {
  cli = await startCli()
  const { door } = cli
  await door.addHost(AGENT, 'web-1', { connected_session: 's' })
  await door.addHost(OTHER_AGENT, 'db-1')
  door.rules.push(processRule('r1', 'Reverse Shell'))
  const at = (minutes: number) => new Date(door.clock.now() + minutes * 60_000).toISOString()
  const row = { agent_id: AGENT, epoch: 'e', class: 'process', recorded_at: at(0), reason: 'kernel_overflow' }
  await door.state.write((tx) =>
    tx
      .insertInto('gaps')
      .values({ ...row, from_seq: 1, to_seq: 1_204, first_at: at(-60), last_at: at(-45) })
      .execute(),
  )
})
afterEach(async () => {
  await cli.stop()
})

it('tells in words where and when a rule was blind', async () => {
  const now = cli.door.clock.now()
  const time = (minutes: number) => new Date(now + minutes * 60_000).toISOString().slice(11, 16)
  const shown = await cli.run(['rules', 'coverage', 'reverse shell', '--since', '2h'], { now })
  expect(shown.code).toBe(0)
  expect(shown.out).toContain('blind on 1 of 2 hosts')
  expect(shown.out).toContain(`web-1`)
  expect(shown.out).toContain(`${time(-60)} to ${time(-45)} process (kernel_overflow, 1,204 events)`)
  expect(shown.out).toContain('not connected, so not known yet: db-1')
  const none = await cli.run(['rules', 'coverage', 'r1', '--since', '30m'], { now })
  expect(none.out).toContain('not blind on any of 2 hosts')
  expect((await cli.run(['rules', 'coverage', 'nothing'], { now })).code).toBe(3)
})

it('tells of a host what it could not see', async () => {
  const now = cli.door.clock.now()
  const shown = await cli.run(['hosts', 'coverage', 'web-1'], { now })
  expect(shown.out).toContain('process (kernel_overflow, 1,204 events)')
  expect((await cli.run(['hosts', 'coverage', 'db-1'], { now })).out).toContain('nothing is known to have been missed')
  expect((await cli.run(['hosts', 'coverage', 'web-1', '--json'], { now })).json()).toMatchObject({
    windows: [{ events: 1_204, class: 'process' }],
  })
})
