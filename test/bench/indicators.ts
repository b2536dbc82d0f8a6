/**
 * Five million indicators in memory: how much they take, how fast one is found and how fast none is, beside a plain Set of the same
 * texts in the same run; and what an event costs that names none of them. Each in a process of its own, so that memory is its own.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Event } from '@firebreak/shared/events/event.ts'
import { isKnown } from '@firebreak/shared/indicators/event-values.ts'
import { MatchTable, tableMemory } from '@firebreak/shared/indicators/match-table.ts'
import { fileEvent, processEvent } from '../fleet/simulated-events.ts'
import type { Bench, BenchOptions, BenchResult } from './bench.ts'

const ENTRY = fileURLToPath(new URL('indicators-child.ts', import.meta.url))

export const indicatorsBench: Bench = {
  name: 'indicators',
  describe: 'Memory and lookups a second of five million indicators, beside a plain Set in the same run.',
  run,
}

interface Measured {
  readonly rss_bytes: number
  readonly build_ms: number
  readonly hits_per_s: number
  readonly misses_per_s: number
  readonly found: number
}

async function run({ short, say }: BenchOptions): Promise<BenchResult> {
  const count = short ? 500_000 : 5_000_000
  const ours = child('table', count)
  say(`table: ${JSON.stringify(ours)}`)
  const plain = child('set', count)
  say(`set: ${JSON.stringify(plain)}`)
  const events = simulatedEvents(20_000)
  const table = new MatchTable(tableMemory(count))
  for (let n = 0; n < 300_000; n++) table.add('domain', `c${n}.evil-${n % 9_973}.example`)
  for (let n = 0; n < 300_000; n++) table.add('ipv4', `203.${n & 127}.${(n >> 7) & 255}.${n >> 15}`)
  for (let n = 0; n < 64; n++) table.add('cidr', `100.${n}.0.0/${16 + (n % 9)}`)
  table.add('sha256', 'ab'.repeat(32))
  table.add('url', 'http://evil.example/x')
  const eventNs = nsPerEvent(events, table)
  return {
    metrics: {
      indicators: count,
      table_rss_bytes: ours.rss_bytes,
      set_rss_bytes: plain.rss_bytes,
      table_build_ms: ours.build_ms,
      set_build_ms: plain.build_ms,
      table_hits_per_s: ours.hits_per_s,
      table_misses_per_s: ours.misses_per_s,
      set_hits_per_s: plain.hits_per_s,
      set_misses_per_s: plain.misses_per_s,
      event_without_hit_ns: eventNs,
    },
    ratios: {
      memory_of_a_set: ours.rss_bytes / plain.rss_bytes,
      hits_of_a_set: ours.hits_per_s / plain.hits_per_s,
      misses_of_a_set: ours.misses_per_s / plain.misses_per_s,
    },
  }
}

/** A third each: programs started, files made, names asked for and connections. */
function simulatedEvents(count: number): readonly Event[] {
  return Array.from({ length: count }, (_, n) => {
    if (n % 3 === 0) return processEvent(n, 'web-1')
    if (n % 3 === 1) return fileEvent(n, 'web-1')
    const event = { category: ['network' as const], type: ['start' as const], action: 'connected' }
    return {
      '@timestamp': '2026-11-24T12:00:00.000Z',
      event,
      source: { ip: '10.1.2.3', port: 40_000 },
      destination: { ip: `192.0.2.${n & 255}`, port: 443, domain: `h${n}.cdn.good.example` },
      dns: { question: { name: `h${n}.cdn.good.example` }, resolved_ip: [`192.0.2.${n & 255}`] },
    }
  })
}

function child(kind: 'table' | 'set', count: number): Measured {
  const out = execFileSync(process.execPath, ['--expose-gc', '--max-old-space-size=4096', ENTRY, kind, String(count)], {
    encoding: 'utf8',
    maxBuffer: 1_048_576,
  })
  return JSON.parse(out) as Measured
}

function nsPerEvent(events: readonly Event[], table: MatchTable): number {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 12; round++) {
    const started = process.cpuUsage()
    for (let again = 0; again < 5; again++)
      for (const event of events) if (isKnown(event, table)) throw new Error('a hit')
    const { user, system } = process.cpuUsage(started)
    least = Math.min(least, ((user + system) * 1_000) / (events.length * 5))
  }
  return least
}
