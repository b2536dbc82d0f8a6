import type { Event } from '@firebreak/shared/events/event.ts'
import { describe, expect, it } from 'vitest'
import { RuleSet } from './rule-set.ts'

const rule = (title: string, field: string, value: string) => ({
  file: `${title}.yml`,
  text: `title: ${title}
id: ${title}
logsource: { category: process_creation, product: linux }
detection: { selection: { ${field}: '${value}' }, condition: selection }
`,
})
/** An event that throws when one of its fields is read, as a bug in a predicate would. */
const trap = (): Event => {
  const process = { executable: '/bin/ls', command_line: 'ls' }
  Object.defineProperty(process, 'working_directory', {
    enumerable: true,
    get: () => {
      throw new Error('the field cannot be read')
    },
  })
  return {
    '@timestamp': '2026-01-01T00:00:00Z',
    event: { category: ['process'], type: ['start'], action: 'process-started' },
    host: { os: { type: 'linux' } },
    process,
  } as unknown as Event
}

describe('a rule that fails on an event', () => {
  it('does not hide the others, and is switched off after three failures', () => {
    const compiled = RuleSet.compile({
      files: [rule('good', 'CommandLine', 'ls'), rule('bad', 'CurrentDirectory', '/tmp')],
      unreadable: [],
    })
    if (!compiled.ok) throw new Error(compiled.why)
    const rules = compiled.value
    const failures: [string, boolean][] = []
    for (let i = 0; i < 5; i++) {
      const matched = rules.match(trap(), (failure) => failures.push([failure.rule.title, failure.switchedOff]))
      expect(matched.map((rule) => rule.title)).toEqual(['good'])
    }
    expect(failures).toEqual([
      ['bad', false],
      ['bad', false],
      ['bad', true],
    ])
    expect(rules.live).toBe(1)
    expect(rules.list()).toContainEqual(
      expect.objectContaining({
        title: 'bad',
        state: 'refused',
        why: expect.stringContaining('the field cannot be read'),
      }),
    )
    expect(rules.list()).toContainEqual(expect.objectContaining({ title: 'good', state: 'live', matches: 5 }))
  })
})
