/** How common is what was seen? Asked of the telemetry store, in a limited time, and never again for the same value within minutes. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import type { Prevalence, Signal } from './index.ts'
import type { TriageConfig } from './triage-config.ts'

/** What went on in the hour before is not "before": an attack that spreads must not make itself common. */
const BEFORE_MS = 3_600_000
const REMEMBER_MS = 600_000
const MAX_REMEMBERED = 10_000
/** After so many failures in a row the store is left alone for a while, so that it does not slow down every batch. */
const FAILURES = 3
/** The telemetry store answers one after the other; who waits for its turn does so here, where no time runs yet. */
const LOOKUPS_AT_ONCE = 2
const PAUSE_MS = 30_000

export interface PrevalenceLookup {
  of(signals: readonly Signal[]): Promise<ReadonlyMap<string, Prevalence>>
}

export function createPrevalence(
  telemetry: Pick<TelemetryStore, 'prevalence'>,
  clock: Clock,
  config: Pick<TriageConfig, 'prevalence_timeout_ms' | 'prevalence_lookups'>,
  onFailure: (why: string) => void,
): PrevalenceLookup {
  const remembered = new Map<string, { readonly until: number; readonly found: Prevalence }>()
  let failures = 0
  let pausedUntil = 0
  let running = 0
  const waiting: (() => void)[] = []

  return {
    async of(signals) {
      const found = new Map<string, Prevalence>()
      const asked = new Map<string, { field: string; value: string; before: string }>()
      const now = clock.monotonic()
      for (const signal of signals) {
        const question = questionOf(signal.event)
        if (question === undefined) continue
        const key = prevalenceKey(question)
        if (found.has(key) || asked.has(key)) continue
        const known = remembered.get(key)
        if (known !== undefined && known.until > now) found.set(key, known.found)
        else if (now < pausedUntil) found.set(key, unknown('the telemetry store did not answer lately'))
        else if (asked.size + waiting.length >= config.prevalence_lookups)
          found.set(key, unknown('too much to look up at once'))
        else asked.set(key, { ...question, before: new Date(clock.now() - BEFORE_MS).toISOString() })
      }
      if (asked.size === 0) return found
      const answers = await Promise.all([...asked].map(async ([key, question]) => [key, await ask(question)] as const))
      for (const [key, answer] of answers) found.set(key, answer)
      return found
    },
  }

  async function ask(question: { field: string; value: string; before: string }): Promise<Prevalence> {
    if (running >= LOOKUPS_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
    running++
    const ended = new AbortController()
    try {
      const answer = await Promise.race([
        telemetry.prevalence(question.field, question.value, question.before),
        clock.sleep(config.prevalence_timeout_ms, ended.signal).then(() => undefined),
      ])
      if (answer === undefined) return failed(`no answer within ${config.prevalence_timeout_ms} ms`)
      failures = 0
      const found: Prevalence = { known: true, field: question.field, events: answer.events, hosts: answer.hosts }
      remember(prevalenceKey(question), found)
      return found
    } catch (thrown) {
      return failed(reasonOf(thrown))
    } finally {
      ended.abort()
      running--
      waiting.shift()?.()
    }
  }

  function failed(why: string): Prevalence {
    failures++
    if (failures >= FAILURES) {
      pausedUntil = clock.monotonic() + PAUSE_MS
      failures = 0
    }
    onFailure(why)
    return unknown(why)
  }

  function remember(key: string, found: Prevalence): void {
    if (remembered.size >= MAX_REMEMBERED) {
      const oldest = remembered.keys().next()
      if (!oldest.done) remembered.delete(oldest.value)
    }
    remembered.set(key, { until: clock.monotonic() + REMEMBER_MS, found })
  }
}

/** The one value of an event whose rarity says most; `undefined` when there is none worth asking for. */
export function questionOf(event: Partial<Event>): { field: string; value: string } | undefined {
  const { process, file, destination } = event
  if (process?.command_line !== undefined) return { field: 'process.command_line', value: process.command_line }
  if (file?.hash?.sha256 !== undefined) return { field: 'file.hash.sha256', value: file.hash.sha256 }
  if (destination?.ip !== undefined) return { field: 'destination.ip', value: destination.ip }
  return undefined
}

export function prevalenceKey(question: { readonly field: string; readonly value: string }): string {
  return `${question.field}\0${question.value}`
}

function unknown(why: string): Prevalence {
  return { known: false, why }
}
