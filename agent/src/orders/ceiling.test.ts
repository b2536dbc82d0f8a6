import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMAND_TYPES } from '@firebreak/shared/commands/catalogue.ts'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { createCeiling, type ProcessView } from './ceiling.ts'

const processes: ProcessView = {
  executableOf: (pid) => (pid === 900 ? '/usr/sbin/sshd' : `/opt/program-${pid}`),
  descendantsOf: (pid) => (pid === 800 ? [801, 900] : []),
}
const isolate = (hold_s: number) => ({ hold_s, on_controller_loss: 'hold' })
const kill = (pid: number, tree = false) => ({ pid, tree })

function ceiling(text?: string) {
  const path = join(temporaryFolder(), 'ceiling.yaml')
  if (text !== undefined) writeFileSync(path, text, { mode: 0o644 })
  return { path, ceiling: createCeiling({ path, processes }) }
}

it('without a file has safe limits', () => {
  const { ceiling: c } = ceiling()
  expect(c.allows('isolate-host', isolate(3_600), 0)).toMatchObject({ ok: true })
  expect(c.allows('isolate-host', isolate(2_000_000), 0)).toMatchObject({ code: 'above_ceiling' })
  expect(c.allows('isolate-host', isolate(3_600), 12)).toMatchObject({ code: 'rate_limited' })
  expect(c.view()).toMatchObject({ observeOnly: false, unusable: undefined, allowed: COMMAND_TYPES })
})

it('lets nobody kill what it protects, not even by way of a parent', () => {
  const { ceiling: c } = ceiling('protected: { pids: [1, 77] }\n')
  for (const args of [kill(77), kill(900), kill(process.pid), kill(800, true)])
    expect(c.allows('kill-process', args, 0)).toMatchObject({ code: 'above_ceiling' })
  for (const args of [kill(800), kill(801), kill(802, true)])
    expect(c.allows('kill-process', args, 0)).toMatchObject({ ok: true })
})

it('observe only refuses every containment and lets a release through', () => {
  const { ceiling: c } = ceiling('observe_only: true\n')
  expect(c.allows('isolate-host', isolate(60), 0)).toMatchObject({ code: 'above_ceiling' })
  expect(c.allows('kill-process', kill(802), 0)).toMatchObject({ code: 'above_ceiling' })
  expect(c.allows('release-host', {}, 0)).toMatchObject({ ok: true })
  expect(c.view()).toMatchObject({ observeOnly: true, allowed: ['release-host'] })
})

it('takes a change at once, and tells the controller by another digest', () => {
  const { path, ceiling: c } = ceiling()
  const before = c.view().sha256
  writeFileSync(path, 'allowed: [kill-process]\n')
  expect(c.allows('isolate-host', isolate(60), 0)).toMatchObject({ code: 'above_ceiling' })
  expect(c.view().sha256).not.toBe(before)
})

it('refuses everything but a release while the file cannot be used, and says why', () => {
  const bad = ['observe_only: perhaps\n', 'observe_onli: true\n', 'a: [\n', 'allowed: [format-disk]\n']
  for (const text of bad) {
    const { path, ceiling: c } = ceiling(text)
    for (const type of COMMAND_TYPES.filter((type) => type !== 'release-host'))
      expect(c.allows(type, isolate(60), 0)).toMatchObject({ code: 'above_ceiling' })
    expect(c.allows('release-host', {}, 1_000)).toMatchObject({ ok: true })
    expect(c.view()).toMatchObject({ allowed: ['release-host'], unusable: expect.stringContaining(path) as string })
    expect(c.protects(4_242, undefined)).toBe(true)
  }
})

it('does not believe a file that others than root can change', () => {
  const { path, ceiling: c } = ceiling('observe_only: false\n')
  chmodSync(path, 0o666)
  expect(c.allows('isolate-host', isolate(60), 0)).toMatchObject({ code: 'above_ceiling' })
  expect(c.view().unusable).toContain('can be changed by others')
})
