import { expect, it } from 'vitest'
import { entityIdOf, parseStat, readProcessIdentity } from './process-identity.ts'

const rest = (ppid: number, start: number) =>
  `S ${ppid} 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 ${start} 8192 1 18446744073709551615`

it('names a process by boot, pid and start, so that none of the three can be another', () => {
  const id = entityIdOf('boot a\n', 42, 1000)
  expect(id).toMatch(/^[0-9a-f]{8}-42-1000$/)
  expect(entityIdOf('boot a', 42, 1000)).toBe(id)
  expect(
    new Set([id, entityIdOf('boot b', 42, 1000), entityIdOf('boot a', 43, 1000), entityIdOf('boot a', 42, 1001)]).size,
  ).toBe(4)
})

it.each(['sh', 'a b', ') R 1 1 (', '((', ''])(
  'reads the parent and the start whatever the process calls itself: %j',
  (name) => {
    expect(parseStat(`42 (${name}) ${rest(5, 1234)}`)).toEqual({ state: 'S', ppid: 5, startTicks: 1234 })
  },
)

it.each(['', '42', '42 (x)', '42 (x) S a b'])('tells nothing from a line that is not one: %j', (line) => {
  expect(parseStat(line)).toBeUndefined()
})

it.skipIf(process.platform !== 'linux')('finds itself and its executable', () => {
  const self = readProcessIdentity(process.pid)
  expect(self).toMatchObject({ pid: process.pid, ppid: process.ppid })
  expect(self?.exe?.path).toContain('node')
})
