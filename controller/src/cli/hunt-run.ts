/** The hunt itself: lines of recorded events against a plan. Reads and writes only through what it is given. */
import type { RulePlan } from '@firebreak/shared/sigma/plan.ts'
import { ruleKey, type SigmaRule } from '@firebreak/shared/sigma/rule.ts'

/** A line of the file as it was read. `long`: the limit was passed and the text is not kept. */
export type EventLine =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'long'; readonly bytes: number }

export interface HuntMatch {
  /** Line of the event in its file, the first is 0; blank and bad lines count. */
  readonly event: number
  readonly rule: SigmaRule
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
  /** Rule id or title → events it matched. */
  readonly matchesByRule: ReadonlyMap<string, number>
}

const BAD_LINES_NAMED = 20

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
    if (typeof event !== 'object' || event === null || Array.isArray(event)) {
      bad('not a JSON object')
      return
    }
    events++
    for (const { rule } of plan.match(event)) {
      matches++
      const key = ruleKey(rule)
      matchesByRule.set(key, (matchesByRule.get(key) ?? 0) + 1)
      emit({ event: line, rule })
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
  return { lines: line, events, blankLines, badLineCount, badLines, matches, matchesByRule }
}
