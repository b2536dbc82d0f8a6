/** A whole feed into the room, in parts that let others write in between; nothing of before is over until all of it is there. */
import { type Result, ok } from '@firebreak/shared/result.ts'
import type { FeedContent, ImportCounts, ImportRefusal, Indicators } from './index.ts'

/** Entries of one transaction. */
const PART = 2_000

export async function takeContent(
  indicators: Pick<Indicators, 'take' | 'complete'>,
  { source, importId, content, replace }: { source: string; importId: string; content: FeedContent; replace: boolean },
  actor: string,
): Promise<Result<ImportCounts, ImportRefusal>> {
  const most = Math.max(content.indicators.length, content.patterns.length)
  for (let from = 0; from < most; from += PART) {
    const part = {
      source,
      importId,
      indicators: content.indicators.slice(from, from + PART),
      patterns: content.patterns.slice(from, from + PART),
    }
    const taken = await indicators.take(part)
    if (!taken.ok) return taken
  }
  if (content.indicators.length === 0 && content.patterns.length === 0 && content.revoked.length === 0)
    return ok({ indicators: 0, added: 0, expired: 0 })
  return await indicators.complete({ source, importId, replace, revoked: content.revoked }, actor)
}
