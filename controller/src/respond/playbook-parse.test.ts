import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SHIPPED_PLAYBOOKS } from './playbook-files.ts'
import { lintPlaybooks } from './playbook-lint.ts'
import { parsePlaybook } from './playbook-parse.ts'

const GOOD = readFileSync(join(SHIPPED_PLAYBOOKS, 'contain-host.yml'), 'utf8')
const lineOf = (text: string, part: string) => text.slice(0, text.indexOf(part)).split('\n').length

/** The shipped playbook with one thing changed: what is said about it, and where. */
function wrong(from: string, to: string) {
  expect(GOOD).toContain(from)
  const text = GOOD.replace(from, to)
  const parsed = parsePlaybook('p.yml', text)
  if (parsed.ok) throw new Error('it was taken')
  return { problems: parsed.problems, line: lineOf(text, to.trim().split('\n').at(-1) ?? '') }
}

describe('a playbook', () => {
  it('that ships is taken', async () => {
    expect(await lintPlaybooks([SHIPPED_PLAYBOOKS])).toMatchObject({
      playbooks: [{ id: 'contain-host' }],
      problems: [],
    })
  })

  it.each([
    ['an unknown variable', '!host.protected', '!hots.protected', 'Unknown variable: hots'],
    ['an unknown field', '!host.protected', '!host.protectd', 'No such key: protectd'],
    ['an unknown field behind has()', '!host.protected', 'has(host.protectd)', 'host has no protectd'],
    ['a condition that is no yes or no', '!host.protected', 'host.hostname', 'it gives string, not a yes or no'],
    ['text compared with a number', '!host.protected', 'host.hostname > 3', 'no such overload'],
    ['a condition that does not parse', '!host.protected', 'host.protected &&', 'Unexpected'],
    ['a backtracking expression', '!host.protected', 'host.hostname.matches("(a+)+")', 'matches() is not offered'],
    [
      'walks within walks within walks',
      '!host.protected',
      'host.tags.all(a, host.tags.all(b, host.tags.all(c, a == b)))',
      'more than 2 walks',
    ],
  ])('with %s is refused with the line', (_what, from, to, why) => {
    const { problems, line } = wrong(`'${from}'`, `'${to.replaceAll("'", "''")}'`)
    expect(problems).toEqual([{ file: 'p.yml', line, why: expect.stringContaining(why) }])
  })

  it.each([
    ['an unknown key', 'command: isolate-host\n\n', 'command: isolate-host\n    cmd: x\n\n', 'unknown: cmd'],
    [
      'a step type that does not exist',
      'type: mark-incident',
      'type: mark-indicent',
      'there is no step type "mark-indicent"',
    ],
    [
      'a command that does not exist',
      'command: isolate-host\n    args',
      'command: isolate-hosts\n    args',
      'command: must be one of',
    ],
    ['an argument that the command does not take', 'hold_s: 14400', 'hold_sec: 14400', 'args'],
    ['an argument out of its bounds', 'hold_s: 14400', 'hold_s: 5', 'args.hold_s'],
    ['a state that no command ends in', 'state: verified', 'state: accepted', 'does not end in accepted'],
    ['a step without an id', '- id: isolate\n    type', '- type', 'missing: id'],
    ['two steps of one id', '- id: isolate', '- id: contained', 'two steps have the id contained'],
    ['no trigger', 'trigger:', 'triger:', 'missing: trigger'],
    ['text where a number belongs', 'version: 1', 'version: one', 'version: must be integer'],
  ])('with %s is refused', (_what, from, to, why) => {
    const { problems } = wrong(from, to)
    expect(problems.map((problem) => problem.why).join('\n')).toContain(why)
    expect(problems.every((problem) => problem.line > 0)).toBe(true)
  })

  it('is told everything that is wrong with it at once', () => {
    const text = GOOD.replace('!host.protected', 'host.nothing').replace('hold_s: 14400', 'hold_s: -1')
    const parsed = parsePlaybook('p.yml', text)
    expect(parsed.ok ? [] : parsed.problems).toHaveLength(2)
  })

  it.each([
    ['an empty file', '', 'empty'],
    ['no YAML', 'a: [', ''],
    ['a list', '- a', 'must be object'],
    ['two documents', `${GOOD}\n---\na: 1\n`, 'one playbook a file'],
    ['a file of a megabyte', `${GOOD}\n#${'x'.repeat(1_000_000)}`, 'longer than'],
    [
      'an alias bomb',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]`,
      'more than',
    ],
    ['deep nesting', `a: ${'['.repeat(5_000)}`, ''],
  ])('that is %s is refused', (_what, text, why) => {
    const parsed = parsePlaybook('p.yml', text)
    if (parsed.ok) throw new Error('it was taken')
    expect(parsed.problems[0]?.why).toContain(why)
  })
})

describe('lint', () => {
  it('names each file and line, takes files and folders, and says when two share an id', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fb-lint-'))
    try {
      writeFileSync(join(dir, 'a.yml'), GOOD)
      writeFileSync(join(dir, 'b.yml'), GOOD)
      writeFileSync(join(dir, 'c.yaml'), 'id: x')
      writeFileSync(join(dir, 'notes.txt'), 'not a playbook')
      const report = await lintPlaybooks([dir, join(dir, 'a.yml'), join(dir, 'gone.yml')])
      expect(report.playbooks.map((playbook) => playbook.file)).toEqual([join(dir, 'a.yml'), join(dir, 'a.yml')])
      expect(report.problems).toMatchObject([
        { file: join(dir, 'b.yml'), why: 'the id contain-host is taken by a.yml' },
        { file: join(dir, 'c.yaml'), line: 1 },
        { file: join(dir, 'gone.yml'), why: expect.stringContaining('ENOENT') },
      ])
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
