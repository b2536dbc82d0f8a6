/** What the tests of the spool share: events, a spool that a test owns the time and the disk of, and what came out of it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { StreamCount } from '@firebreak/shared/wire/messages.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { expect } from 'vitest'
import { silentLog } from '../../log.ts'
import type { FreeSpace } from './spool-limits.ts'
import { openSpool, type Spool, type SpoolConfig, type UnsentBatch } from './spool.ts'

const CATEGORY: Readonly<Record<EventClass, 'process' | 'authentication' | 'network' | 'file' | 'host'>> = {
  alert: 'process',
  process: 'process',
  authentication: 'authentication',
  network: 'network',
  file: 'file',
  inventory: 'host',
}

export function event(eventClass: EventClass, message: string): Event {
  return {
    '@timestamp': '2026-01-01T00:00:00.000Z',
    event: {
      category: [CATEGORY[eventClass]],
      type: ['info'],
      action: 'tested',
      ...(eventClass === 'alert' ? { kind: 'alert' as const } : {}),
    },
    message,
  }
}

export function open(path: string, config: Partial<SpoolConfig> = {}): Spool {
  return openAt(path, new FakeClock(), config)
}

export function openAt(path: string, clock: FakeClock, config: Partial<SpoolConfig> = {}, freeSpace = plenty): Spool {
  const whole = { max_bytes: 16 * MiB, segment_bytes: 64 * 1024, max_age_hours: 72, min_free_percent: 10, ...config }
  return openSpool({ clock, log: silentLog, folder: path, freeSpace }, whole)
}

function plenty(): FreeSpace {
  return { free: 90 * MiB, total: 100 * MiB }
}

export function drain(spool: Spool, eventClass: EventClass): UnsentBatch[] {
  const batches: UnsentBatch[] = []
  for (let batch = spool.next(eventClass); batch; batch = spool.next(eventClass)) batches.push(batch)
  return batches
}

/** The messages of the events by number; a gap stands as its reason. Fails when a number is missing or comes twice. */
export function contents(batches: readonly UnsentBatch[]): Map<number, string> {
  const seen = new Map<number, string>()
  for (const { header, lines } of batches) {
    let line = 0
    let gap = 0
    for (let seq = header.first_seq; seq <= header.last_seq; ) {
      expect(seen.has(seq)).toBe(false)
      const hole = header.gaps[gap]
      if (hole && hole.from === seq) {
        for (; seq <= hole.to; seq++) seen.set(seq, hole.reason)
        gap++
        continue
      }
      seen.set(seq, (JSON.parse(Buffer.from(lines[line] ?? []).toString()) as Event).message ?? '')
      line++
      seq++
    }
    expect([line, gap]).toEqual([header.count, header.gaps.length])
  }
  return seen
}

export function count(spool: Spool, eventClass: EventClass): StreamCount {
  const found = spool.counts().find((stream) => stream.class === eventClass)
  if (!found) throw new Error(`no counts of ${eventClass}`)
  return found
}

export function segments(path: string, spool: Spool, eventClass: EventClass): string[] {
  const dir = join(path, spool.epoch, eventClass)
  return readdirSync(dir)
    .filter((name) => name.endsWith('.seg'))
    .sort()
    .map((name) => join(dir, name))
}
