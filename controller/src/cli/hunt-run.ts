/** The hunt itself: lines of recorded events against a plan. Reads and writes only through what it is given. */
import { timeOfRecord } from '@firebreak/shared/recordings/record-time.ts'
import { isRecord } from '@firebreak/shared/recordings/record-values.ts'
import { Correlator, type Firing } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { createFieldReader } from '@firebreak/shared/sigma/correlate/fields.ts'
import { CORRELATION_LIMITS } from '@firebreak/shared/sigma/correlate/limits.ts'
import type { RulePlan } from '@firebreak/shared/sigma/plan.ts'
import { ruleKey, type SigmaCorrelation, type SigmaRule } from '@firebreak/shared/sigma/rule.ts'

/** A line of the file as it was read. `long`: the limit was passed and the text is not kept. */
export type EventLine =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'long'; readonly bytes: number }

export interface HuntMatch {
  /** Line of the event in its file, the first is 0; blank and bad lines count. */
  readonly event: number
  readonly rule: SigmaRule | SigmaCorrelation
  /** Where the rule is a correlation: what it speaks of; `refs` are lines. */
  readonly firing?: Firing
}

export interface BadLine {
  readonly line: number
  readonly why: string
}

export interface HuntCounts {
  readonly lines: number
  readonly events: number
  readonly blankLines: number
  readonly badLineCount: number
  /** The first of them. */
  readonly badLines: readonly BadLine[]
  readonly matches: number
  /** Rule id or title → events it matched, also for rules that only feed correlations; of a correlation, how often it held. */
  readonly matchesByRule: ReadonlyMap<string, number>
  /** Events of rules that correlations build on, without a time: taken at the time of the one before. */
  readonly eventsWithoutTime: number
  /** What correlations could not count, for want of room or because it came too late. */
  readonly uncorrelated: readonly {
    readonly rule: string
    readonly late: number
    readonly evictedEvents: number
    readonly evictedWindows: number
  }[]
}

const BAD_LINES_NAMED = 20
/** Recordings of several hosts are often one behind the other. */
const LATENESS_MS = 86_400_000

export async function hunt(
  plan: RulePlan,
  batches: AsyncIterable<readonly EventLine[]>,
  emit: (match: HuntMatch) => void,
  pause: () => Promise<void>,
): Promise<HuntCounts> {
  const badLines: BadLine[] = []
  const matchesByRule = new Map<string, number>()
  let line = 0
  let events = 0
  let blankLines = 0
  let badLineCount = 0
  let matches = 0
  let lastTimeMs = 0
  let eventsWithoutTime = 0
  const correlator = new Correlator(plan.correlations, { ...CORRELATION_LIMITS, latenessMs: LATENESS_MS })
  const read = createFieldReader()
  const found = (match: HuntMatch, isSilent: boolean) => {
    const key = ruleKey(match.rule)
    matchesByRule.set(key, (matchesByRule.get(key) ?? 0) + 1)
    if (isSilent) return
    matches++
    emit(match)
  }
  const correlate = (rule: SigmaRule, event: Readonly<Record<string, unknown>>) => {
    const names = correlator.fieldsOf(rule)
    if (names === undefined) return
    const timeMs = timeOf(event)
    if (timeMs === undefined) eventsWithoutTime++
    else lastTimeMs = timeMs
    const observed = { timeMs: lastTimeMs, receivedMs: 0, refs: String(line), fields: read(event, names) }
    for (const firing of correlator.take(rule, observed))
      found({ event: line, rule: firing.correlation, firing }, false)
  }
  const bad = (why: string) => {
    badLineCount++
    if (badLines.length < BAD_LINES_NAMED) badLines.push({ line, why })
  }
  const take = (text: string) => {
    let event: unknown
    try {
      event = JSON.parse(text)
    } catch (thrown) {
      bad(thrown instanceof Error ? thrown.message : 'not JSON')
      return
    }
    if (!isRecord(event)) {
      bad('not a JSON object')
      return
    }
    events++
    for (const { rule } of plan.match(event)) {
      found({ event: line, rule }, plan.silent.has(rule))
      correlate(rule, event)
    }
  }
  for await (const batch of batches) {
    for (const read of batch) {
      if (read.kind === 'long') bad(`longer than the limit: ${read.bytes} bytes`)
      else if (read.text.trim() === '') blankLines++
      else take(read.text)
      line++
    }
    await pause()
  }
  const uncorrelated = [...correlator.figures()]
    .map(([rule, { late, evictedEvents, evictedWindows }]) => ({
      rule: ruleKey(rule),
      late,
      evictedEvents,
      evictedWindows,
    }))
    .filter(({ late, evictedEvents, evictedWindows }) => late + evictedEvents + evictedWindows > 0)
  return {
    lines: line,
    events,
    blankLines,
    badLineCount,
    badLines,
    matches,
    matchesByRule,
    eventsWithoutTime,
    uncorrelated,
  }
}

/** Of the event itself, or of the header in which Windows and its shippers put it. */
function timeOf(event: Readonly<Record<string, unknown>>): number | undefined {
  const own = timeOfRecord(event)
  if (own !== undefined) return own.atMs
  const inner = isRecord(event['Event']) ? event['Event'] : event
  const system = inner['System']
  return isRecord(system) ? timeOfRecord(system)?.atMs : undefined
}
