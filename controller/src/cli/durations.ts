/** `90s`, `15m`, `4h`, `7d`, or plain seconds. */
import { InvalidArgumentError } from 'commander'

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** Seconds; throws commander's own error, so that the option is named. */
export function parseDuration(text: string): number {
  const [, number, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text.trim()) ?? []
  if (number === undefined) throw new InvalidArgumentError('A duration looks like 90s, 15m, 4h or 7d.')
  return Number(number) * (UNITS[unit] ?? 1)
}

/** `1h` before now, or an ISO 8601 time, as ISO 8601 UTC. */
export function parseTime(text: string, nowMs: number): string {
  if (/^\d{1,9}[smhd]$/.test(text)) return new Date(nowMs - parseDuration(text) * 1000).toISOString()
  const at = Date.parse(text)
  if (Number.isNaN(at)) throw new InvalidArgumentError('A time looks like 1h (ago) or 2026-11-24T12:00:00Z.')
  return new Date(at).toISOString()
}

export function durationText(seconds: number): string {
  for (const [unit, size] of Object.entries(UNITS).toReversed())
    if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`
  return `${seconds}s`
}

/** How long ago, in the largest fitting unit. */
export function ageText(iso: string | null, nowMs: number): string {
  if (iso === null) return 'never'
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(iso)) / 1000))
  if (seconds < 60) return `${seconds}s ago`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ago`
  return `${Math.floor(seconds / 86_400)}d ago`
}

/** `2026-11-24 12:00:03Z` */
export function timeText(iso: string | null): string {
  return iso === null ? '-' : `${iso.slice(0, 19).replace('T', ' ')}Z`
}
