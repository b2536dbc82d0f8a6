import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { packTar } from 'modern-tar'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type HuntOptions, runHunt } from './hunt.ts'
import { LineSplitter } from './hunt-events.ts'

const rule = (title: string, selection: string, more = '') =>
  `title: ${title}\n${more}logsource:\n  category: process_creation\n  product: windows\ndetection:\n  s:\n    ${selection}\n  condition: s\n`
const sysmon = (more: Record<string, unknown>) =>
  JSON.stringify({
    EventID: 1,
    Channel: 'Microsoft-Windows-Sysmon/Operational',
    Provider_Name: 'Microsoft-Windows-Sysmon',
    ...more,
  })

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hunt-'))
  await mkdir(join(folder, 'rules/sub'), { recursive: true })
  await writeFile(
    join(folder, 'rules/one.yml'),
    rule('Whoami', 'CommandLine|contains: whoami', 'id: 11111111-1111-4111-8111-111111111111\n'),
  )
  await writeFile(
    join(folder, 'rules/sub/two.yml'),
    `${rule('First of two', 'Image|endswith: cmd.exe')}---\n${rule('Second of two', 'Image|startswith: C')}`,
  )
  await writeFile(join(folder, 'rules/readme.txt'), 'not a rule')
})

afterEach(() => rm(folder, { recursive: true }))

const EVENTS = [
  sysmon({ CommandLine: 'whoami /all', Image: String.raw`D:\x.exe` }),
  '',
  'this is no JSON',
  sysmon({ CommandLine: 'dir', Image: String.raw`C:\Windows\cmd.exe` }),
  JSON.stringify({ EventID: 3, Channel: 'Microsoft-Windows-Sysmon/Operational', CommandLine: 'whoami' }),
  '[1]',
].join('\n')

async function huntIn(options: Partial<HuntOptions> = {}) {
  const written: string[] = []
  const said: string[] = []
  const code = await runHunt(
    { rules: join(folder, 'rules'), events: join(folder, 'events.ndjson'), json: true, ...options },
    { write: (text) => void written.push(text), drained: () => Promise.resolve(), say: (text) => void said.push(text) },
  )
  const matches = options.json === false ? [] : written.map((line) => JSON.parse(line) as unknown)
  return { code, matches, written, said: said.join('\n') }
}

const EXPECTED = [
  { event: 0, rule: '11111111-1111-4111-8111-111111111111', file: 'one.yml' },
  { event: 3, rule: 'First of two', file: 'sub/two.yml' },
  { event: 3, rule: 'Second of two', file: 'sub/two.yml' },
]

describe('firebreak hunt', () => {
  it('prints one line a match; blank and bad lines count as lines', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    const { code, matches, said } = await huntIn()
    expect(code).toBe(0)
    expect(matches).toEqual(EXPECTED)
    expect(JSON.parse(said)).toMatchObject({
      events: 3,
      lines: 6,
      blank_lines: 1,
      bad_lines: 2,
      bad_lines_named: [{ line: 2 }, { line: 5, why: 'not a JSON object' }],
      matches: 3,
      rules_loaded: 3,
      rules_skipped: 0,
    })
  })

  it('ends with 2 when nothing given is what it should be, with the reasons', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    await writeFile(join(folder, 'text.yml'), 'title: [')
    const noRule = await huntIn({ rules: join(folder, 'text.yml') })
    expect(noRule.code).toBe(2)
    expect(noRule.said).toContain('text.yml holds nothing that is a rule')
    expect(noRule.said).toContain('"rules_skipped":1')
    await writeFile(join(folder, 'events.evtx'), Buffer.from(`ElfFile\0${'\x01\xff\n'.repeat(50)}`, 'latin1'))
    const noEvent = await huntIn({ events: join(folder, 'events.evtx') })
    expect(noEvent.code).toBe(2)
    expect(noEvent.said).toContain('events.evtx holds no event')
    expect((await huntIn({ events: folder })).code).toBe(2)
  })

  it('ends with 0 for an empty recording, and when the rules it was given are known and skipped', async () => {
    await writeFile(join(folder, 'events.ndjson'), '')
    expect((await huntIn()).code).toBe(0)
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    await writeFile(join(folder, 'skipped.yml'), rule('Needs a list', `CommandLine|expand: '%names%'`))
    const { code, said } = await huntIn({ rules: join(folder, 'skipped.yml') })
    expect(code).toBe(0)
    expect(said).toContain('%names%')
  })

  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('reads events in %s, whatever the name of the file', async (_name, compress) => {
    await writeFile(join(folder, 'events.ndjson'), compress(Buffer.from(EVENTS)))
    expect((await huntIn()).matches).toEqual(EXPECTED)
  })

  it.each(['rules.tar.gz', 'rules.tar', 'rules.tar.zst'])(
    'reads rules from %s, and names them as the archive does',
    async (name) => {
      const files = [
        ['rules/one.yml', rule('Whoami', 'CommandLine|contains: whoami')],
        [`${'deep/'.repeat(40)}two.yml`, rule('Cmd', 'Image|endswith: cmd.exe')],
        ['notes.txt', 'no rule'],
      ] as const
      const tar = await packTar(
        files.map(([path, text]) => ({
          header: { name: path, size: Buffer.byteLength(text), type: 'file' },
          body: text,
        })),
      )
      const packed = name.endsWith('.gz') ? gzipSync(tar) : name.endsWith('.zst') ? zstdCompressSync(tar) : tar
      await writeFile(join(folder, name), packed)
      await writeFile(join(folder, 'events.ndjson'), EVENTS)
      const { matches } = await huntIn({ rules: join(folder, name) })
      expect(matches).toEqual([
        { event: 0, rule: 'Whoami', file: 'rules/one.yml' },
        { event: 3, rule: 'Cmd', file: `${'deep/'.repeat(40)}two.yml` },
      ])
    },
  )

  it('takes one rule file by itself', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    expect((await huntIn({ rules: join(folder, 'rules/one.yml') })).matches).toEqual(EXPECTED.slice(0, 1))
  })

  it('tries every rule on every event when told to ignore log sources', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    const { matches } = await huntIn({ anyLogSource: true })
    expect(matches).toContainEqual({ event: 4, rule: '11111111-1111-4111-8111-111111111111', file: 'one.yml' })
  })

  it('names the rules it skipped, with place and reason, and runs the others', async () => {
    await writeFile(join(folder, 'rules/bad.yml'), rule('Bad', 'A|nonsense: 1'))
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    const { code, matches, said } = await huntIn()
    expect(code).toBe(0)
    expect(matches).toEqual(EXPECTED)
    expect(JSON.parse(said)).toMatchObject({
      rules_skipped: 1,
      skipped: [{ code: 'modifier_unknown', file: 'bad.yml', line: 7, rule: 'Bad' }],
    })
    expect((await huntIn({ json: false })).said).toContain('skipped bad.yml:7 Bad: modifier_unknown')
  })

  it('fills placeholders from a file', async () => {
    await writeFile(join(folder, 'rules/expand.yml'), rule('Expand', "CommandLine|expand: '%Words%'"))
    await writeFile(join(folder, 'words.yml'), 'Words:\n  - who*\n')
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    const { matches } = await huntIn({ placeholders: join(folder, 'words.yml') })
    expect(matches).toContainEqual({ event: 0, rule: 'Expand', file: 'expand.yml' })
  })

  it.each<[string, Partial<HuntOptions>]>([
    ['no such rules', { rules: '/nonexistent/rules' }],
    ['no such events', { events: '/nonexistent/events' }],
    ['no such placeholders', { placeholders: '/nonexistent/words' }],
  ])('ends with 2 and a reason: %s', async (_what, options) => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    const { code, said, written } = await huntIn(options)
    expect(code).toBe(2)
    expect(said).toContain('nonexistent')
    expect(written).toEqual([])
  })

  it('ends with 2 when a folder has no rules, or an archive is none', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    await mkdir(join(folder, 'empty'))
    expect((await huntIn({ rules: join(folder, 'empty') })).code).toBe(2)
    await writeFile(join(folder, 'broken.tar.gz'), gzipSync(Buffer.from('not a tar archive at all'.repeat(100))))
    expect((await huntIn({ rules: join(folder, 'broken.tar.gz') })).code).toBe(2)
    await writeFile(join(folder, 'cut.tar.gz'), gzipSync(Buffer.alloc(100_000, 'x')).subarray(0, 60))
    expect((await huntIn({ rules: join(folder, 'cut.tar.gz') })).code).toBe(2)
  })

  it('ends with 2 when nothing given is what it should be, with the reasons', async () => {
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    await writeFile(join(folder, 'text.yml'), 'title: [')
    const noRule = await huntIn({ rules: join(folder, 'text.yml') })
    expect(noRule.code).toBe(2)
    expect(noRule.said).toContain('text.yml holds nothing that is a rule')
    expect(noRule.said).toContain('"rules_skipped":1')
    await writeFile(join(folder, 'events.evtx'), Buffer.from(`ElfFile\0${'\x01\xff\n'.repeat(50)}`, 'latin1'))
    const noEvent = await huntIn({ events: join(folder, 'events.evtx') })
    expect(noEvent.code).toBe(2)
    expect(noEvent.said).toContain('events.evtx holds no event')
    expect((await huntIn({ events: folder })).code).toBe(2)
  })

  it('ends with 0 for an empty recording, and when the rules it was given are known and skipped', async () => {
    await writeFile(join(folder, 'events.ndjson'), '')
    expect((await huntIn()).code).toBe(0)
    await writeFile(join(folder, 'events.ndjson'), EVENTS)
    await writeFile(join(folder, 'skipped.yml'), rule('Needs a list', `CommandLine|expand: '%names%'`))
    const { code, said } = await huntIn({ rules: join(folder, 'skipped.yml') })
    expect(code).toBe(0)
    expect(said).toContain('%names%')
  })

  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('ends with 2 when the events are %s cut off in the middle', async (_name, compress) => {
    const whole = compress(
      Buffer.from(Array.from({ length: 5_000 }, (_, index) => sysmon({ n: index, r: Math.random() })).join('\n')),
    )
    await writeFile(join(folder, 'events.ndjson'), whole.subarray(0, whole.length / 2))
    const { code, said } = await huntIn()
    expect(code).toBe(2)
    expect(said).toContain('events.ndjson')
  })
})

describe('correlations in a hunt', () => {
  const failed = (at: string, user: string) => JSON.stringify({ '@timestamp': at, EventType: 'failed', User: user })
  const many = `title: Failed\nid: failed\ndetection:\n  s:\n    EventType: failed\n  condition: s\n---\ntitle: Many\nid: many\nlevel: high\ncorrelation:\n  type: event_count\n  rules: [failed]\n  group-by: [User]\n  timespan: 1m\n  condition:\n    gte: 2\n`
  const events = [
    failed('2026-01-01T00:00:00Z', 'ann'),
    failed('2026-01-01T00:00:10Z', 'bob'),
    failed('2026-01-01T00:00:50Z', 'ann'),
    failed('2026-01-01T00:02:00Z', 'ann'),
  ].join('\n')

  it('say the group, the time and the lines; the rule under them says nothing by itself and is counted', async () => {
    await writeFile(join(folder, 'many.yml'), many)
    await writeFile(join(folder, 'events.ndjson'), events)
    const { code, written, said } = await huntIn({ rules: join(folder, 'many.yml') })
    expect(code).toBe(0)
    expect(written.map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        event: 2,
        rule: 'many',
        file: 'many.yml',
        correlation: {
          type: 'event_count',
          group: { User: 'ann' },
          from: '2026-01-01T00:00:00.000Z',
          to: '2026-01-01T00:00:50.000Z',
          events: 2,
          measured: 2,
          lines: [0, 2],
        },
      },
    ])
    expect(JSON.parse(said)).toMatchObject({
      matches: 1,
      correlations_loaded: 1,
      rules_matched: { failed: 4, many: 1 },
      events_without_time: 0,
      uncorrelated: [],
    })
    const plain = await huntIn({ rules: join(folder, 'many.yml'), json: false })
    expect(plain.written.join('')).toContain('Many: 2 events in 50 s (User ann)')
  })

  it('with generate the rule under them says what it finds, too', async () => {
    await writeFile(join(folder, 'many.yml'), many.replace('timespan: 1m', 'timespan: 1m\n  generate: true'))
    await writeFile(join(folder, 'events.ndjson'), events)
    const { written } = await huntIn({ rules: join(folder, 'many.yml') })
    expect(written.map((line) => (JSON.parse(line) as { rule: string }).rule)).toEqual([
      'failed',
      'failed',
      'failed',
      'many',
      'failed',
    ])
  })

  it('take events without a time at that of the one before, and say how many', async () => {
    await writeFile(join(folder, 'many.yml'), many)
    await writeFile(join(folder, 'events.ndjson'), '{"EventType":"failed"}\n{"EventType":"failed"}\n')
    const { written, said } = await huntIn({ rules: join(folder, 'many.yml') })
    expect(written).toHaveLength(1)
    expect(said).toContain('"events_without_time":2')
  })
})

describe('cutting events into lines', () => {
  const split = (limit: number, ...chunks: string[]) => {
    const splitter = new LineSplitter(limit)
    return [...chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk))), ...splitter.end()]
  }

  it('keeps lines whole across blocks, whatever ends them', () => {
    expect(split(100, '\ufeff{"a":', '1}\r\n', '{"b":2}', '\n', '{"c":3}')).toMatchObject([
      { text: '{"a":1}\r' },
      { text: '{"b":2}' },
      { text: '{"c":3}' },
    ])
  })

  it('counts a line past the limit as one line and does not keep it', () => {
    expect(split(10, 'a\n', 'x'.repeat(30), 'x'.repeat(30), 'x\nb\n', 'y'.repeat(11))).toEqual([
      { kind: 'text', text: 'a' },
      { kind: 'long', bytes: 61 },
      { kind: 'text', text: 'b' },
      { kind: 'long', bytes: 11 },
    ])
  })

  it('keeps characters whole that a block boundary cuts', () => {
    const bytes = Buffer.from('{"a":"ü😀"}')
    const splitter = new LineSplitter(100)
    const lines = [...bytes].flatMap((byte) => splitter.push(Buffer.from([byte])))
    expect([...lines, ...splitter.end()]).toEqual([{ kind: 'text', text: '{"a":"ü😀"}' }])
  })
})
