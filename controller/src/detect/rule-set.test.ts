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

describe('a rule that only feeds a correlation', () => {
  const correlation = {
    file: 'c.yml',
    text: 'title: c\nid: c\ncorrelation: { type: event_count, rules: [bad], timespan: 1m, condition: { gte: 2 } }\n',
  }
  const compiled = () => {
    const set = RuleSet.compile({
      files: [rule('good', 'CommandLine', 'ls'), rule('bad', 'CurrentDirectory', '/tmp'), correlation],
      unreadable: [],
    })
    if (!set.ok) throw new Error(set.why)
    return set.value
  }

  it('runs and is among those that events are looked through with, and is told apart', () => {
    const rules = compiled()
    expect(rules.running.rules.map(({ title }) => title)).toEqual(['good', 'bad'])
    expect(rules.running.rules.filter((one) => rules.isSilent(one)).map(({ title }) => title)).toEqual(['bad'])
    expect(rules.live).toBe(3)
  })

  it('takes the correlation with it when it is switched off, and both are named', () => {
    const rules = compiled()
    for (let i = 0; i < 3; i++) rules.match(trap(), () => {})
    expect(rules.live).toBe(1)
    expect(rules.correlations).toEqual([])
    expect(rules.list()).toMatchObject([
      { id: 'good', state: 'live' },
      { id: 'bad', state: 'refused' },
      { id: 'c', state: 'refused', why: expect.stringContaining('it runs no more: it names "bad"') },
    ])
  })
})

describe('a rule that a new load refuses', () => {
  const compile = (files: { file: string; text: string }[], before?: RuleSet) => {
    const compiled = RuleSet.compile({ files, unreadable: [] }, before)
    if (!compiled.ok) throw new Error(compiled.why)
    return compiled.value
  }
  const event = (command: string) =>
    ({
      '@timestamp': '2026-01-01T00:00:00Z',
      event: { category: ['process'], type: ['start'], action: 'process-started' },
      host: { os: { type: 'linux' } },
      process: { executable: '/bin/ls', command_line: command },
    }) as unknown as Event
  const fired = (rules: RuleSet, command: string) => rules.match(event(command), () => {}).map(({ title }) => title)
  const [one, two] = [rule('one', 'CommandLine', 'ls'), rule('two', 'CommandLine', 'ls')]

  it.each([
    ['its file is not YAML any more', { file: one.file, text: 'title: one\n  bad: [' }],
    [
      'its condition names what is not there',
      { ...one, text: one.text.replace('condition: selection', 'condition: x') },
    ],
    ['it cannot be compiled', rule('one', 'CommandLine|expand', '%unknown%')],
  ])('goes on in its last good version and says so: %s', (_what, broken) => {
    const first = compile([one, two])
    const second = compile([broken, two], first)
    expect(fired(second, 'ls').toSorted()).toEqual(['one', 'two'])
    expect(second.list()).toContainEqual(
      expect.objectContaining({ id: 'one', state: 'live', why: expect.stringContaining('its last good version runs') }),
    )
    expect(second.list()).toHaveLength(2)
    // Once more: the version that is kept is what the next load falls back to.
    expect(fired(compile([broken, two], second), 'ls').toSorted()).toEqual(['one', 'two'])
  })

  it('gives way to its repaired file, and goes when its file goes', () => {
    const broken = { file: one.file, text: 'title: one\n  bad: [' }
    const second = compile([broken, two], compile([one, two]))
    const repaired = compile([rule('one', 'CommandLine', 'ls -l'), two], second)
    expect([fired(repaired, 'ls'), fired(repaired, 'ls -l'), repaired.kept]).toEqual([['two'], ['one'], []])
    expect(fired(compile([two], second), 'ls')).toEqual(['two'])
  })
})
