/** Which signals are one alert. */
import { createHash } from 'node:crypto'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { SignalId } from '@firebreak/shared/ids.ts'
import type { Signal } from './index.ts'

/** One signal an agent, rule and event, however often it is looked at: the id says so (RFC 9562, version 8). */
export function signalIdOf(signal: Pick<Signal, 'agentId' | 'ruleId' | 'eventId'>): SignalId {
  return uuidOf('signal', signal.agentId, signal.ruleId, signal.eventId) as SignalId
}

/** A UUID made of what it names. */
export function uuidOf(...parts: readonly string[]): string {
  const hex = createHash('sha256').update(JSON.stringify(parts)).digest('hex')
  const variant = ((Number.parseInt(hex[16] ?? '0', 16) & 0x3) | 0x8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** Host, rule and what did it: the program rather than the process, so that a loop of ten thousand processes is one alert. */
export function dedupKeyOf(signal: Signal): string {
  return JSON.stringify([signal.agentId, signal.ruleId, subjectOf(signal.event)])
}

/** Where a rule has opened too many alerts on a host, everything more of it counts on this one. */
export function collapsedKeyOf(signal: Signal): string {
  return JSON.stringify([signal.agentId, signal.ruleId, '*'])
}

/** What all keys of a rule on a host begin with. */
export function keyPrefixOf(signal: Signal): string {
  return `${JSON.stringify([signal.agentId, signal.ruleId]).slice(0, -1)},`
}

export function ruleOfKey(dedupKey: string): string {
  const [, rule] = JSON.parse(dedupKey) as readonly [string, string, string]
  return rule
}

export interface SignalGroup {
  readonly key: string
  readonly signals: readonly Signal[]
  readonly firstSeenMs: number
  readonly lastSeenMs: number
}

/** Groups of one key with no pause longer than the window, oldest first. `seenAt` turns the time of an event into one to be believed. */
export function groupSignals(
  signals: readonly Signal[],
  windowMs: number,
  seenAt: (eventTime: string) => number,
): SignalGroup[] {
  const byKey = new Map<string, { signal: Signal; at: number }[]>()
  for (const signal of signals) {
    const key = dedupKeyOf(signal)
    const members = byKey.get(key) ?? []
    members.push({ signal, at: seenAt(signal.eventTime) })
    byKey.set(key, members)
  }
  const groups: SignalGroup[] = []
  for (const [key, members] of byKey) {
    members.sort((a, b) => a.at - b.at)
    let from = 0
    for (let index = 1; index <= members.length; index++) {
      const pause = (members[index]?.at ?? Number.POSITIVE_INFINITY) - (members[index - 1]?.at ?? 0)
      if (pause <= windowMs) continue
      const part = members.slice(from, index)
      groups.push({
        key,
        signals: part.map((member) => member.signal),
        firstSeenMs: part[0]?.at ?? 0,
        lastSeenMs: part.at(-1)?.at ?? 0,
      })
      from = index
    }
  }
  return groups.sort((a, b) => a.firstSeenMs - b.firstSeenMs)
}

const AHEAD_MS = 5 * 60_000
const BEHIND_MS = 7 * 86_400_000
/**
 * A host's clock is believed within limits: from five minutes ahead to a week behind (a spool holds a day). Outside it says 1970 or
 * 2262, and the time of arrival is nearer to the truth.
 */
export function seenAt(eventTime: string, nowMs: number): number {
  const at = Date.parse(eventTime)
  return Number.isFinite(at) && at <= nowMs + AHEAD_MS && at >= nowMs - BEHIND_MS ? at : nowMs
}

function subjectOf(event: Partial<Event>): string {
  return (
    event.process?.executable ??
    event.process?.name ??
    event.file?.directory ??
    event.source?.ip ??
    event.service?.name ??
    event.user?.name ??
    '-'
  )
}
