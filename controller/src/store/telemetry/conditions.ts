/**
 * Writes conditions over the table of events: the one place that knows how a field is looked for so that an index helps. What is
 * searched for becomes a parameter, never SQL; names of columns come from the fixed list, names of other fields only from the schema.
 * Texts are compared without case. An index only narrows: the exact comparison always stands beside it.
 */
import { Event } from '@firebreak/shared/events/event.ts'
import { Fault } from '@firebreak/shared/result.ts'
import { columnOf, eventColumn, isEventColumn } from './event-columns.ts'
import { LOOKUPS, WORDS } from './event-table.ts'
import { schemaField } from './schema-field.ts'
import type { Statement } from './telemetry-store.ts'

export const COMPARISONS = ['<', '<=', '>', '>='] as const
export type Comparison = (typeof COMPARISONS)[number]

/** What a field can be asked: `text` by equality and wildcard, `number` and `time` by range too. `id`: of one event or one host, by equality. */
export type Searchable = 'text' | 'number' | 'time' | 'id'

/** `undefined`: the schema has no such field. A field without a column is read from the text of each event, which is slower. */
export function searchable(field: string): { readonly as: Searchable; readonly column: boolean } | undefined {
  if (field === 'host.id' || field === 'event.id') return { as: 'id', column: true }
  if (field === '@timestamp' || field === 'event.ingested') return { as: 'time', column: true }
  if (isEventColumn(field)) return { as: eventColumn(field).kind === 'number' ? 'number' : 'text', column: true }
  const found = schemaField(Event, field)
  return found && { as: found.type === 'number' ? 'number' : 'text', column: false }
}

/** Collects the parameters of one statement. All methods return SQL in which only those appear. Fault `unknown_field`. */
export class Conditions {
  readonly #params: Record<string, string | number | readonly string[]> = {}
  #count = 0

  statement(sql: string): Statement {
    return { sql, params: { ...this.#params } }
  }

  /** `{p0:String}`, for statements that these methods have no word for. */
  param(value: string | number | readonly string[], type: string): string {
    const name = `p${this.#count++}`
    this.#params[name] = value
    return `{${name}:${type}}`
  }

  equals(field: string, value: string): string {
    if (field === 'host.id') return `agent_id = ${this.param(value, 'String')}`
    if (field === 'event.id') return this.#isEvent(value)
    if (field === '@timestamp' || field === 'event.ingested') return `${timeColumn(field)} = ${this.#time(value)}`
    const target = targetOf(field)
    if (target.kind === 'number') return this.#number(target, '=', value)
    const param = this.param(target.lower ? value.toLowerCase() : value, 'String')
    if (target.kind === 'list')
      return and(
        target.lookup ? `has(${LOOKUPS}, ${param})` : '',
        target.lookup
          ? `has(${target.sql}, ${param})`
          : `arrayExists(item -> lowerUTF8(item) = lowerUTF8(${param}), ${target.sql})`,
      )
    if (target.lookup) return and(`has(${LOOKUPS}, ${param})`, `${target.sql} = ${param}`)
    return and(target.words ? this.#wordsOf(value, true, true) : '', `lowerUTF8(${target.sql}) = lowerUTF8(${param})`)
  }

  /** Any of several values; for long lists, such as indicators or the processes of a tree. */
  anyOf(field: string, values: readonly string[]): string {
    const target = isEventColumn(field) ? targetOf(field) : undefined
    if (!target?.lookup || target.kind !== 'keyword' || values.length < 2)
      return either(values.map((value) => this.equals(field, value)))
    const folded = target.lower ? values.map((value) => value.toLowerCase()) : values
    const param = this.param(folded, 'Array(String)')
    return and(`hasAny(${LOOKUPS}, ${param})`, `has(${param}, ${target.sql})`)
  }

  /** `*` stands for any text and `?` for one character, unless a backslash precedes it. */
  like(field: string, pattern: string): string {
    const { like, bounded } = patternOf(pattern)
    if (field === 'host.id') return `agent_id like ${this.param(like, 'String')}`
    const target = targetOf(field)
    const param = this.param(target.lower ? like.toLowerCase() : like, 'String')
    if (target.kind === 'list') return `arrayExists(item -> item ilike ${param}, ${target.sql})`
    const words = target.words ? this.#allWords(bounded) : ''
    if (target.kind === 'number') return and(this.exists(field), `toString(${target.sql}) ilike ${param}`)
    return and(words, `${target.sql} ${target.lower ? 'like' : 'ilike'} ${param}`)
  }

  compare(field: string, comparison: Comparison, value: string): string {
    if (field === '@timestamp' || field === 'event.ingested')
      return `${timeColumn(field)} ${comparison} ${this.#time(value)}`
    const target = targetOf(field)
    if (target.kind === 'number') return this.#number(target, comparison, value)
    const param = this.param(value, 'String')
    return target.kind === 'list'
      ? `arrayExists(item -> lowerUTF8(item) ${comparison} lowerUTF8(${param}), ${target.sql})`
      : `(${target.sql} != '' and lowerUTF8(${target.sql}) ${comparison} lowerUTF8(${param}))`
  }

  /** Addresses in a block such as 10.0.0.0/8 or 2001:db8::/32; what is no address does not match. */
  inBlock(field: string, cidr: string): string {
    const target = targetOf(field)
    const param = this.param(cidr, 'String')
    const within = (item: string) =>
      `if(isIPv4String(${item}) or isIPv6String(${item}), isIPAddressInRange(if(isIPv4String(${item}) or isIPv6String(${item}), ${item}, '::'), ${param}), 0)`
    return target.kind === 'list' ? `arrayExists(item -> ${within('item')}, ${target.sql})` : within(target.sql)
  }

  /** An empty text counts as none. */
  exists(field: string): string {
    if (['host.id', 'event.id', '@timestamp', 'event.ingested'].includes(field)) return '1'
    const target = targetOf(field)
    if (target.kind === 'number')
      return target.nullable ? `isNotNull(${target.sql})` : `(${target.sql} != 0 or ${target.has})`
    return target.kind === 'list' ? `notEmpty(${target.sql})` : `${target.sql} != ''`
  }

  /** Address by address, not letter by letter; what is no address does not match. */
  compareAddress(field: string, comparison: Comparison, address: string): string {
    const target = targetOf(field)
    const bound = `toIPv6(${this.param(address, 'String')})`
    const within = (item: string) => `ifNull(toIPv6OrNull(toString(${item})) ${comparison} ${bound}, 0)`
    return target.kind === 'list' ? `arrayExists(item -> ${within('item')}, ${target.sql})` : within(target.sql)
  }

  /** A field that holds a time, also one that is only in the text of the event; ms since 1970. */
  compareTime(field: string, comparison: Comparison, ms: number): string {
    const bound = `fromUnixTimestamp64Milli(${this.param(ms, 'Int64')}, 'UTC')`
    if (field === '@timestamp' || field === 'event.ingested') return `${timeColumn(field)} ${comparison} ${bound}`
    return `ifNull(parseDateTime64BestEffortOrNull(toString(${targetOf(field).sql}), 3, 'UTC') ${comparison} ${bound}, 0)`
  }

  /** A regular expression of RE2 over one field. `whole` is text that stands in what it matches, with no letter or digit beside it. */
  matches(field: string, whole: string, pattern: string): string {
    const target = targetOf(field)
    const param = this.param(pattern, 'String')
    if (target.kind === 'list') return `arrayExists(item -> match(item, ${param}), ${target.sql})`
    return and(target.words ? this.#wordsOf(whole, true, true) : '', `match(${target.sql}, ${param})`)
  }

  /** The same over all fields that have words. Any text may stand between two of the pieces. One whole word needs the index only. */
  matchesAnywhere(pieces: readonly string[], pattern: string): string {
    const last = pieces.length - 1
    const parts = pieces.map((piece, at) =>
      wordsIn(piece.toLowerCase(), piece === '' || at === 0, piece === '' || at === last),
    )
    const words = parts.flatMap((part) => part.words)
    const index = this.#allWords(words)
    const [only = ''] = words
    if (pieces.length === 1 && words.length === 1 && only === pieces[0]?.toLowerCase()) return index
    return and(index, `match(${WORDS}, ${this.param(pattern, 'String')})`)
  }

  /** The whole value of any hash, entity id, address or domain. */
  lookup(value: string): string {
    const spellings = [...new Set([value, value.toLowerCase()])]
    return either(spellings.map((spelling) => `has(${LOOKUPS}, ${this.param(spelling, 'String')})`))
  }

  /** One field of those, compared without the index: beside a `lookup` that has found the events already, which is a third of the work. */
  isWhole(field: string, value: string): string {
    const target = targetOf(field)
    return `${target.sql} = ${this.param(target.lower ? value.toLowerCase() : value, 'String')}`
  }

  /** All words of the text, as whole words, anywhere in the fields that have words. */
  words(text: string): string {
    const { words, exact } = wordsIn(text.toLowerCase(), true, true)
    if (!exact || words.length === 0) return this.contains(text)
    return this.#allWords(words)
  }

  /** The text as it stands, anywhere in the fields that have words. */
  contains(text: string): string {
    return and(
      this.#wordsOf(text, false, false),
      `${WORDS} like lowerUTF8(${this.param(`%${escapeLike(text)}%`, 'String')})`,
    )
  }

  #wordsOf(text: string, fromStart: boolean, toEnd: boolean): string {
    return this.#allWords(wordsIn(text.toLowerCase(), fromStart, toEnd).words)
  }

  #allWords(words: readonly string[]): string {
    return words.length === 0
      ? ''
      : `hasAllTokens(${WORDS}, ${this.param([...new Set(words)].slice(0, 64), 'Array(String)')})`
  }

  /** Numbers that are not there are kept as 0, so where 0 would do the event itself is asked. */
  #number(target: Target, comparison: Comparison | '=', value: string): string {
    const number = Number(value)
    if (value.trim() === '' || !Number.isFinite(number)) return '0'
    const compared = `${target.sql} ${comparison} ${this.param(String(number), 'Float64')}`
    if (target.nullable) return `ifNull(${compared}, 0)`
    const zeroToo = { '=': number === 0, '<': number > 0, '<=': number >= 0, '>': number < 0, '>=': number <= 0 }[
      comparison
    ]
    return zeroToo ? `(${compared} and (${target.sql} != 0 or ${target.has}))` : compared
  }

  #isEvent(id: string): string {
    const [, agent = '', epoch = '', name = '', seq = ''] =
      /^([^:]*):([0-9a-f-]{36}):([a-z]+):(\d{1,16})$/.exec(id) ?? []
    if (seq === '') return '0'
    return `(agent_id = ${this.param(agent, 'String')} and epoch = ${this.param(epoch, 'UUID')} and class = ${this.param(name, 'String')} and seq = ${this.param(Number(seq), 'UInt64')})`
  }

  #time(value: string): string {
    return `parseDateTime64BestEffort(${this.param(value, 'String')}, 3, 'UTC')`
  }
}

interface Target {
  readonly sql: string
  readonly kind: 'keyword' | 'number' | 'list'
  readonly lookup: boolean
  readonly words: boolean
  readonly lower: boolean
  readonly nullable: boolean
  /** Whether the event has the field at all. */
  readonly has: string
}

function targetOf(field: string): Target {
  const path = field
    .split('.')
    .map((part) => `'${part.replaceAll(/[\\']/g, String.raw`\$&`)}'`)
    .join(', ')
  const has = `JSONHas(raw, ${path})`
  if (isEventColumn(field)) {
    const { type, kind, lookup = false, words = false, lower = false } = eventColumn(field)
    return {
      sql: columnOf(field),
      kind,
      lookup,
      words,
      lower,
      nullable: type.startsWith('Nullable'),
      has,
    }
  }
  const found = schemaField(Event, field)
  if (!found) throw new Fault('unknown_field', `${field} is not a field that can be searched by`)
  const plain = { lookup: false, words: false, lower: false, nullable: false, has }
  return found.type === 'number'
    ? { ...plain, sql: `JSONExtract(raw, ${path}, 'Nullable(Float64)')`, kind: 'number', nullable: true }
    : { ...plain, sql: found.sql, kind: found.type === 'list' ? 'list' : 'keyword' }
}

function timeColumn(field: '@timestamp' | 'event.ingested'): string {
  return field === '@timestamp' ? 'time' : 'ingested'
}

function and(...parts: readonly string[]): string {
  const said = parts.filter((part) => part !== '')
  return said.length === 1 ? (said[0] ?? '') : `(${said.join(' and ')})`
}

function either(parts: readonly string[]): string {
  return parts.length === 0 ? '0' : `(${parts.join(' or ')})`
}

function escapeLike(text: string): string {
  return text.replaceAll(/[\\%_]/g, (special) => `\\${special}`)
}

/** The pattern of LIKE, and the words in it that no wildcard touches. */
function patternOf(pattern: string): { readonly like: string; readonly bounded: readonly string[] } {
  const pieces: string[] = ['']
  let like = ''
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at] ?? ''
    if (character === '*' || character === '?') {
      like += character === '*' ? '%' : '_'
      pieces.push('')
      continue
    }
    const escaped = character === '\\' && at + 1 < pattern.length
    const literal = escaped ? (pattern[++at] ?? '') : character
    like += escapeLike(literal)
    pieces[pieces.length - 1] += literal
  }
  const bounded = pieces.flatMap((piece, at) => wordsIn(piece.toLowerCase(), at === 0, at === pieces.length - 1).words)
  return { like, bounded }
}

/**
 * The words of a text as the index splits it (letters and digits of ASCII, and every other character beyond ASCII, make words). A word
 * with a character beyond ASCII is left out: there the engine's lower case may differ from ours. `fromStart`, `toEnd`: the text
 * begins or ends where the field does, so its first or last word is whole. `exact`: nothing was left out.
 */
function wordsIn(
  text: string,
  fromStart: boolean,
  toEnd: boolean,
): { readonly words: readonly string[]; readonly exact: boolean } {
  const words: string[] = []
  let exact = true
  for (const match of text.matchAll(/[a-z0-9\u0080-\u{10ffff}]+/gu)) {
    const [word] = match
    const whole = (fromStart || match.index > 0) && (toEnd || match.index + word.length < text.length)
    if (whole && /^[a-z0-9]+$/.test(word)) words.push(word)
    else exact = false
  }
  return { words, exact }
}
