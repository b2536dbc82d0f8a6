import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runRulesTest } from './rules-test.ts'

const LOGIN = `title: Failed login
name: failed_login
id: 11111111-1111-4111-8111-111111111111
logsource: { category: process_creation, product: linux }
detection:
  selection: { CommandLine|contains: failure }
  condition: selection
`
const BRUTE = `title: Brute force
id: 22222222-2222-4222-8222-222222222222
correlation:
  type: event_count
  rules: [failed_login]
  group-by: [user.name]
  timespan: 1m
  condition: { gte: 3 }
`
const login = (second: number, outcome: string, name = 'root') => ({
  '@timestamp': `2026-11-24T12:00:${String(second).padStart(2, '0')}.000Z`,
  event: { category: ['process'], type: ['start'], action: 'exec', dataset: 'firebreak.process' },
  host: { os: { type: 'linux' } },
  process: { executable: '/bin/login', command_line: `login ${outcome}` },
  user: { name },
})
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rules-test-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function test(files: Readonly<Record<string, unknown>>, json = false) {
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), typeof text === 'string' ? text : JSON.stringify(text))
  const written: string[] = []
  const out = { write: (text: string) => void written.push(text), say: (text: string) => void written.push(text) }
  return { code: await runRulesTest(folder, { json }, out), written: written.join('\n') }
}

describe('rules test', () => {
  it('ends with 0 when rules and correlations fire on what they should and on nothing else', async () => {
    const failures = [1, 2, 3].map((second) => login(second, 'failure'))
    const two = [login(1, 'failure'), login(2, 'failure'), login(3, 'failure', 'other')]
    const { code, written } = await test({
      'login.yml': LOGIN,
      'login.cases.json': { fires: [login(1, 'failure')], silent: [login(1, 'success')] },
      'brute.yml': BRUTE,
      'brute.cases.json': { fires: [failures], silent: [two] },
    })
    expect(written).toBe('2 files: 2 hold with 4 cases, 0 broken, 0 without cases, 0 refused')
    expect(code).toBe(0)
  })

  it('names each case that does not hold, a rule without a firing case, and cases without a rule, and ends with 1', async () => {
    const { code, written } = await test({
      'login.yml': LOGIN,
      'login.cases.json': { fires: [login(1, 'success')], silent: [login(1, 'success'), login(2, 'failure')] },
      'other.yml': LOGIN.replaceAll('1111', '3333'),
      'other.cases.json': { fires: [], silent: [] },
      'gone.cases.json': { fires: [], silent: [] },
      'bad.yml': LOGIN.replaceAll('1111', '4444'),
      'bad.cases.json': '{"fires": 1}',
    })
    expect(code).toBe(1)
    for (const line of [
      'broken  login.yml: fires 0: it does not',
      'broken  login.yml: silent 1: it fires',
      'broken  other.yml: it has no case that it fires on',
      'broken  gone.yml: gone.cases.json is there, and no rule beside it',
    ])
      expect(written).toContain(line)
    expect(written).toContain('broken  bad.yml: bad.cases.json: it must have required properties silent')
  })

  it('counts rules without cases, and fails for a rule that is refused', async () => {
    expect(await test({ 'login.yml': LOGIN })).toMatchObject({
      code: 0,
      written: expect.stringContaining('1 without') as unknown,
    })
    const refused = await test({ 'broken.yml': 'title: x' }, true)
    expect(refused.code).toBe(1)
    expect(JSON.parse(refused.written)).toMatchObject({ files: 2, untested: 2, refused: [{ file: 'broken.yml' }] })
  })

  it('ends with 2 when there is nothing to read', async () => {
    expect((await test({})).code).toBe(2)
  })
})
