/**
 * What has to go: by age, a class at a time, and past the size of the whole store the oldest day of the least important class. Whole
 * partitions go, at once and without needing free space. Today stays, whatever it weighs: without it nothing could come in.
 */
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { EVENTS } from './event-table.ts'
import type { ClassStats, Expired, RetentionPolicy, TelemetryStats } from './telemetry-store.ts'

const DAY_MS = 86_400_000

export function expired(stats: TelemetryStats, { days, maxBytes }: RetentionPolicy, nowMs: number): readonly Expired[] {
  const today = dayOf(nowMs)
  const going: Expired[] = []
  const staying: ClassStats[] = []
  for (const part of stats.days) {
    const kept = days[part.class]
    if (kept !== undefined && part.day < dayOf(nowMs - kept * DAY_MS)) going.push(gone(part, 'age'))
    else staying.push(part)
  }
  let bytes = stats.bytes - going.reduce((sum, part) => sum + part.bytes, 0)
  const candidates = staying.filter(({ day }) => day < today).sort(leastImportantFirst)
  for (const part of candidates) {
    if (bytes <= maxBytes) break
    bytes -= part.bytes
    going.push(gone(part, 'size'))
  }
  return going
}

/** Values of the partition come from the engine's own list; the class is checked all the same, because it becomes part of a statement. */
export function dropStatement(day: string, name: string): string {
  if (!/^\d{4}-\d\d-\d\d$/.test(day) || !/^[a-z_]{1,64}$/.test(name)) throw new Error(`${day} ${name} is no partition`)
  return `alter table ${EVENTS} drop partition (${day.replaceAll('-', '')}, '${name}')`
}

function leastImportantFirst(a: ClassStats, b: ClassStats): number {
  return importance(b.class) - importance(a.class) || (a.day < b.day ? -1 : 1)
}

/** 0 is the most important; a class that nobody knows goes first. */
function importance(name: string): number {
  const at = (EVENT_CLASSES as readonly string[]).indexOf(name)
  return at === -1 ? EVENT_CLASSES.length : at
}

function gone({ day, class: name, events, bytes }: ClassStats, why: Expired['why']): Expired {
  return { day, class: name, events, bytes, why }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}
