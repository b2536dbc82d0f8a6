import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { expect, it } from 'vitest'
import { IsolationStore } from '../actions/isolation/state.ts'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { event } from '../link/spool/spool.fixture.ts'
import { openSpool } from '../link/spool/spool.ts'
import { silentLog } from '../log.ts'
import { ensureIdentity } from './identity.ts'
import { resetIdentity } from './reset-identity.ts'
import { isEnrolled } from './trust-store.ts'

const CONFIG = { max_bytes: 16 * MiB, segment_bytes: MiB, max_age_hours: 72, min_free_percent: 0 }
const deps = { clock: systemClock, log: silentLog }

function joined(): { readonly stateDir: string; readonly agentId: string } {
  const stateDir = temporaryFolder()
  const identity = ensureIdentity(stateDir)
  if (!identity.ok) throw new Error(identity.why)
  for (const name of ['enrolment.json', 'trust.json', 'journal']) writeFileSync(join(stateDir, name), name)
  return { stateDir, agentId: identity.value.agentId }
}

it('forgets the key that the other machine has, sets aside what belongs to it, and takes the waiting events along in a new epoch', async () => {
  const { stateDir, agentId } = joined()
  const spool = openSpool({ ...deps, folder: join(stateDir, 'spool') }, CONFIG)
  for (const text of ['sent', 'waiting 1', 'waiting 2']) spool.event(event('process', text))
  spool.flush()
  spool.next('process')
  spool.ack({ epoch: spool.epoch, class: 'process', seq: 1 })
  await spool.close()
  const key = readFileSync(join(stateDir, 'agent.key'), 'utf8')
  const reset = await resetIdentity(stateDir, CONFIG, deps)
  expect(reset).toMatchObject({ ok: true, value: { agentId } })
  expect(isEnrolled(stateDir)).toBe(false)
  expect(existsSync(join(stateDir, 'agent.key'))).toBe(false)
  for (const name of ['enrolment.json', 'trust.json', 'journal'])
    expect(readFileSync(join(stateDir, `former-${agentId}`, name), 'utf8')).toBe(name)
  const next = ensureIdentity(stateDir)
  expect(next.ok && next.value.agentId).not.toBe(agentId)
  expect(readFileSync(join(stateDir, 'agent.key'), 'utf8')).not.toBe(key)
  const after = openSpool({ ...deps, folder: join(stateDir, 'spool') }, CONFIG)
  expect(after.epoch).not.toBe(spool.epoch)
  expect(after.renewals).toMatchObject([{ from: spool.epoch, into: after.epoch, why: 'identity_reset' }])
  // Numbers and counts begin anew: under the new id nobody was acked anything.
  expect(after.counts().find((count) => count.class === 'process')).toMatchObject({ produced: 2, spooled: 2, acked: 0 })
  expect(after.closed()).toEqual([])
  await after.close()
})

it('changes nothing on a host that is isolated, or that has no key', async () => {
  expect(await resetIdentity(temporaryFolder(), CONFIG, deps)).toMatchObject({ ok: false, code: 'not_enrolled' })
  const { stateDir } = joined()
  new IsolationStore(stateDir).write({
    v: 1,
    phase: 'isolated',
    ended: [],
    record: {
      cmd_id: 'c1',
      controllers: [],
      hold: { boot_id: 'b', until_boot_ms: 1, until_wall_ms: 1, most_ms: 1 },
      on_controller_loss: 'hold',
      release_code_sha256: null,
      ruleset: '',
      before_sha256: '0'.repeat(64),
      targets: [],
    },
  })
  expect(await resetIdentity(stateDir, CONFIG, deps)).toMatchObject({ ok: false, code: 'isolated' })
  expect(isEnrolled(stateDir)).toBe(true)
  expect(existsSync(join(stateDir, 'agent.key'))).toBe(true)
})
