import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type LintOptions, runLint } from './rules-lint.ts'

const WHOLE = `title: Whoami
id: 11111111-1111-4111-8111-111111111111
status: test
description: Somebody asks who they are.
tags: [attack.discovery, attack.t1033]
logsource: { category: process_creation, product: linux }
detection:
  selection: { CommandLine|contains: whoami }
  condition: selection
falsepositives: [Administration]
level: low
`
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lint-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function lint(files: Readonly<Record<string, string>>, options: LintOptions = {}) {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const written: string[] = []
  const said: string[] = []
  const out = { write: (text: string) => void written.push(text), say: (text: string) => void said.push(text) }
  return { code: await runLint([folder], options, out), written: written.join('\n'), said: said.join('\n') }
}

describe('rules lint', () => {
  it('ends with 0 when everything can be used and nothing is missing', async () => {
    expect(await lint({ 'a.yml': WHOLE }, { strict: true })).toEqual({
      code: 0,
      written: '1 files: 1 rules, 0 correlations, 0 filters; 0 refused, 0 warnings',
      said: '',
    })
  })

  it('names what is refused by file, line, rule and reason, goes on with the others, and ends with 1', async () => {
    const broken = WHOLE.replace('condition: selection', 'condition: selection and missing')
    const { code, written } = await lint({ 'a.yml': broken, 'b.yml': 'title: [', 'c.yml': WHOLE }, { json: true })
    expect(code).toBe(1)
    expect(JSON.parse(written)).toMatchObject({
      files: 3,
      rules: 1,
      refused: [
        { file: 'a.yml', line: 9, rule: '11111111-1111-4111-8111-111111111111', code: 'selection_unknown' },
        { file: 'b.yml', rule: null },
      ],
    })
  })

  it('warns of what a rule lacks, and fails for it only when asked to', async () => {
    const bare = WHOLE.replace(/^(?:id|status|description|falsepositives|level): .*\n/gm, '').replace(
      'attack.t1033',
      'mine',
    )
    const relaxed = await lint({ 'a.yml': bare, 'b.yml': WHOLE, 'c.yml': WHOLE })
    expect(relaxed.code).toBe(0)
    for (const code of [
      'id_missing',
      'status_missing',
      'description_missing',
      'false_positives_missing',
      'level_missing',
      'tag_unknown',
    ])
      expect(relaxed.written).toMatch(new RegExp(`^warning  a\\.yml:1 Whoami: ${code}: `, 'm'))
    expect(relaxed.written).toContain(
      'c.yml:1 11111111-1111-4111-8111-111111111111: id_duplicate: b.yml:1 has the same id',
    )
    expect((await lint({}, { strict: true })).code).toBe(1)
  })

  it('ends with 2 and says why when there is nothing to look at', async () => {
    expect(await lint({})).toMatchObject({ code: 2, said: expect.stringContaining('holds no .yml') as unknown })
  })
})
