/** Pages by cursor: stable while new rows come in, unlike offsets. The cursor is opaque to clients and checked when it comes back. */
import { Type, type TSchema } from 'typebox'
import { ProblemError } from './problem.ts'

export const PAGE = { default: 50, max: 500 } as const

export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: PAGE.max, description: `Entries a page; ${PAGE.default} when left out.` }),
  ),
  cursor: Type.Optional(Type.String({ maxLength: 8_192, description: '`next` of the page before.' })),
}

export const pageOf = <T extends TSchema>(entry: T) =>
  Type.Object(
    {
      items: Type.Array(entry),
      next: Type.Union([Type.String(), Type.Null()], {
        description: 'Cursor of the next page; null at the end.',
      }),
    },
    { additionalProperties: false },
  )

export interface Page<T> {
  items: T[]
  next: string | null
}

/** `list` keeps a cursor of one list from being used on another. */
export function encodeCursor(list: string, key: string): string {
  return Buffer.from(JSON.stringify([1, list, key])).toString('base64url')
}

export function decodeCursor(list: string, cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined
  const parsed = parseCursor(cursor)
  if (!Array.isArray(parsed) || parsed.length !== 3 || parsed[0] !== 1 || parsed[1] !== list)
    throw new ProblemError('bad_cursor', 'start again without `cursor`')
  const key: unknown = parsed[2]
  if (typeof key !== 'string') throw new ProblemError('bad_cursor', 'start again without `cursor`')
  return key
}

function parseCursor(cursor: string): unknown {
  return parseCursorKey(Buffer.from(cursor, 'base64url').toString())
}

/** A key of several parts is JSON. */
export function parseCursorKey(key: string): unknown {
  try {
    return JSON.parse(key)
  } catch {
    throw new ProblemError('bad_cursor', 'start again without `cursor`')
  }
}

/** Of `limit + 1` rows makes a page of `limit` and knows whether there is more. */
export function pageFrom<Row, Entry>(
  list: string,
  rows: readonly Row[],
  limit: number,
  keyOf: (row: Row) => string,
  view: (row: Row) => Entry,
): Page<Entry> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map(view),
    next: rows.length > limit && last !== undefined ? encodeCursor(list, keyOf(last)) : null,
  }
}
