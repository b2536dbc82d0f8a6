/** A plain list: one value a line, in its first column; `#`, `;` and `//` begin comments; lines of a hosts file name their second column. */
import type { ObservableType } from '@firebreak/shared/indicators/observable.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import { type Details, Entries, type FeedRefusal } from './entries.ts'

const COMMENT = /^(?:#|;|\/\/)/
const SINKS = new Set(['0.0.0.0', '127.0.0.1', '::', '::1'])

export function parseList(text: string, details: Details, type?: ObservableType): Result<FeedContent, FeedRefusal> {
  const entries = new Entries()
  for (const line of linesOf(text)) {
    const bare = line.trim()
    if (bare === '' || COMMENT.test(bare)) continue
    const columns = bare.split(/[\s,;|]+/, 2)
    const [first = '', second = ''] = columns
    entries.add(SINKS.has(first) && second !== '' ? second : first.replace(/^"(.*)"$/, '$1'), type, details)
    if (entries.isTooLarge) break
  }
  return entries.content()
}

/** Without a copy of all of it. */
function* linesOf(text: string): Generator<string> {
  for (let from = text.charCodeAt(0) === 0xfeff ? 1 : 0; from < text.length; ) {
    const end = text.indexOf('\n', from)
    yield text.slice(from, end < 0 ? undefined : end)
    if (end < 0) return
    from = end + 1
  }
}
