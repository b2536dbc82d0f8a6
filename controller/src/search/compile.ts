/**
 * A query as one condition over the events of the store. Names become columns of a fixed list, values become parameters; what a field
 * cannot be asked is refused with the column where it stands.
 *
 * Case: texts compare without it, unlike Kibana's keywords, because an analyst who looks for `cmd.exe` means `CMD.EXE` too. Only ids
 * compare as they are written.
 */
import { Conditions } from '../store/telemetry/conditions.ts'
import type { Statement } from '../store/telemetry/telemetry-store.ts'
import { isAddressBlock, spellingsOf } from './addresses.ts'
import { type Field, fieldNamed, FIELDS, nearestField } from './fields.ts'
import { parseQuery } from './kql/parse.ts'
import {
  type Comparison,
  hasWildcard,
  isExistence,
  type Literal,
  literalText,
  type Query,
  QueryRefusal,
  type RefusedQuery,
} from './kql/query.ts'
import { phrasePattern } from './phrases.ts'
import { type Moment, parseMoment } from './times.ts'

/** A wildcard in a field's name can stand for many fields. */
const MAX_CONDITIONS = 512
/** Longer than that a phrase is looked for as it stands: regular expressions grow with it. */
const MAX_PATTERN = 500

/** `nowMs` is what `now` in the query means; `scope` adds conditions of the caller's own. */
export function compileQuery(
  text: string,
  nowMs: number,
  scope: (conditions: Conditions) => readonly string[] = () => [],
): { readonly ok: true; readonly value: Statement } | RefusedQuery {
  const parsed = parseQuery(text)
  if (!parsed.ok) return parsed
  try {
    const conditions = new Conditions()
    const parts = [...scope(conditions), new Compiler(conditions, nowMs).condition(parsed.value)]
    return { ok: true, value: conditions.statement(parts.map((part) => `(${part})`).join(' and ')) }
  } catch (thrown) {
    if (thrown instanceof QueryRefusal) return thrown.refused
    throw thrown
  }
}

class Compiler {
  readonly #conditions: Conditions
  readonly #nowMs: number
  #count = 0

  constructor(conditions: Conditions, nowMs: number) {
    this.#conditions = conditions
    this.#nowMs = nowMs
  }

  condition(query: Query): string {
    switch (query.kind) {
      case 'all':
        return '1'
      case 'and':
      case 'or':
        return query.parts.map((part) => `(${this.condition(part)})`).join(` ${query.kind} `)
      case 'not':
        return `not (${this.condition(query.part)})`
      case 'is':
        return query.field === null ? this.#anywhere(query.value) : this.#is(query.field, query.value)
      case 'range':
        return this.#overFields(query.field, query.value, (field) =>
          this.#compare(field, query.comparison, query.value),
        )
      default:
        throw new Error(`unhandled query ${String(query satisfies never)}`)
    }
  }

  #is(name: Literal, value: Literal): string {
    // As in Kibana, `*:*` is every event.
    if (isExistence(value) && isExistence(name)) return '1'
    return this.#overFields(name, value, (field) => this.#holds(field, value))
  }

  /** One field, or all whose names match; of those, the ones that cannot be asked this are passed over, as in Kibana. */
  #overFields(name: Literal, value: Literal, ask: (field: Field) => string): string {
    const fields = fieldsOf(name)
    this.#count += fields.length
    if (this.#count > MAX_CONDITIONS)
      throw new QueryRefusal(
        'query_too_many_terms',
        name.at,
        `the wildcards in field names make more than ${MAX_CONDITIONS} conditions; name the fields`,
      )
    if (!hasWildcard(name)) return fields.map(ask).join('')
    const parts: string[] = []
    let refusal: QueryRefusal | undefined
    for (const field of fields) {
      try {
        parts.push(ask(field))
      } catch (thrown) {
        if (!(thrown instanceof QueryRefusal)) throw thrown
        refusal = thrown
      }
    }
    if (parts.length > 0) return parts.map((part) => `(${part})`).join(' or ')
    throw refusal ?? badValue(value, `no field of ${literalText(name)} can hold it`)
  }

  #holds(field: Field, value: Literal): string {
    const conditions = this.#conditions
    const { name } = field
    if (isExistence(value)) return conditions.exists(name)
    const text = literalText(value)
    if (text === '') return `not (${conditions.exists(name)})`
    switch (field.type) {
      case 'text':
        return this.#words(name, value)
      case 'keyword':
      case 'id':
        return hasWildcard(value) ? conditions.like(name, patternOf(value)) : conditions.equals(name, text)
      case 'ip':
        return this.#isAddress(name, value)
      case 'number':
        return conditions.equals(name, String(this.#number(field, value)))
      case 'date':
        return this.#isWithin(name, this.#moment(field, value))
      case 'boolean':
        return conditions.equals(name, this.#boolean(field, value))
      default:
        throw new Error(`unhandled field type ${String(field.type satisfies never)}`)
    }
  }

  #compare(field: Field, comparison: Comparison, value: Literal): string {
    const { name, type } = field
    switch (type) {
      case 'number':
        return this.#conditions.compare(name, comparison, String(this.#number(field, value)))
      case 'date':
        return this.#compareTime(name, comparison, this.#moment(field, value))
      case 'ip': {
        const [address] = spellingsOf(literalText(value)) ?? []
        if (address === undefined)
          throw badValue(value, `${name} holds addresses; expected one such as 10.0.0.1 after ${comparison}`)
        return this.#conditions.compareAddress(name, comparison, address)
      }
      case 'keyword':
      case 'text':
      case 'boolean':
      case 'id':
        throw badValue(
          value,
          `${name} is a ${type} field, and ${comparison} works on numbers, times and addresses; write ${name}:value, with * for any text`,
        )
      default:
        throw new Error(`unhandled field type ${String(type satisfies never)}`)
    }
  }

  /** In quotes a phrase; without, all of the words in any order; with `*` the whole value. */
  #words(name: string, value: Literal): string {
    if (hasWildcard(value)) return this.#conditions.like(name, patternOf(value))
    return phrasesOf(value)
      .map((phrase) => this.#phrase(name, phrase))
      .join(' and ')
  }

  #phrase(name: string, phrase: string): string {
    return phrase.length > MAX_PATTERN
      ? this.#conditions.like(name, `*${escapedPattern(phrase)}*`)
      : this.#conditions.matches(name, phrase, phrasePattern([phrase]))
  }

  /** A free text: words, or the whole of a hash, an address, a domain or an id. */
  #anywhere(value: Literal): string {
    if (isExistence(value)) return '1'
    const conditions = this.#conditions
    if (hasWildcard(value)) return conditions.matchesAnywhere(value.pieces, phrasePattern(value.pieces))
    const phrases = phrasesOf(value)
    if (phrases.length === 0) throw badValue(value, 'expected a text to search for')
    const words = phrases.map((phrase) =>
      phrase.length > MAX_PATTERN
        ? conditions.contains(phrase)
        : conditions.matchesAnywhere([phrase], phrasePattern([phrase])),
    )
    const text = literalText(value)
    const wholes = spellingsOf(text) ?? (phrases.length === 1 ? [text] : [])
    return [words.join(' and '), ...wholes.map((whole) => conditions.lookup(whole))]
      .map((part) => `(${part})`)
      .join(' or ')
  }

  #isAddress(name: string, value: Literal): string {
    const conditions = this.#conditions
    if (hasWildcard(value)) return conditions.like(name, patternOf(value))
    const text = literalText(value)
    if (isAddressBlock(text)) return conditions.inBlock(name, text)
    if (text.includes('/'))
      throw badValue(value, `${text} is not a block of addresses; expected one such as 10.0.0.0/8 or "2001:db8::/32"`)
    // What is no address may still be what a host wrote.
    const spellings = spellingsOf(text) ?? [text]
    return spellings.map((spelling) => conditions.equals(name, spelling)).join(' or ')
  }

  #isWithin(name: string, moment: Moment): string {
    return `${this.#compareTime(name, '>=', moment)} and ${this.#compareTime(name, '<=', moment)}`
  }

  /** `> 2026-11-24` means after that day, `>= 2026-11-24` from its beginning. */
  #compareTime(name: string, comparison: Comparison, { fromMs, toMs }: Moment): string {
    switch (comparison) {
      case '>=':
        return this.#conditions.compareTime(name, '>=', fromMs)
      case '>':
        return this.#conditions.compareTime(name, '>=', toMs)
      case '<':
        return this.#conditions.compareTime(name, '<', fromMs)
      case '<=':
        return this.#conditions.compareTime(name, '<', toMs)
      default:
        throw new Error(`unhandled comparison ${String(comparison satisfies never)}`)
    }
  }

  #moment({ name }: Field, value: Literal): Moment {
    if (hasWildcard(value))
      throw badValue(value, `${name} holds times; a whole day is ${name}:2026-11-24, longer spans are >= and <`)
    const moment = parseMoment(literalText(value), this.#nowMs)
    if (!moment.ok) throw badValue(value, moment.why)
    return moment.value
  }

  #number({ name }: Field, value: Literal): number {
    const text = literalText(value)
    const number = Number(text)
    if (hasWildcard(value))
      throw badValue(value, `${name} holds numbers, which have no wildcards; write ${name} >= 1000 and ${name} < 2000`)
    if (!/^[+-]?\d{1,20}(\.\d{1,20})?$/.test(text) || !Number.isFinite(number))
      throw badValue(
        value,
        `${name} holds numbers; expected one, found ${JSON.stringify(text)}${/^\d+\s+\d/.test(text) ? `; several are ${name}:(${text.split(/\s+/u).join(' or ')})` : ''}`,
      )
    return number
  }

  #boolean({ name }: Field, value: Literal): string {
    const text = literalText(value).toLowerCase()
    if (text !== 'true' && text !== 'false') throw badValue(value, `${name} is true or false`)
    return text
  }
}

function fieldsOf(name: Literal): readonly Field[] {
  const text = literalText(name)
  if (!hasWildcard(name)) {
    const field = fieldNamed(text)
    if (field) return [field]
    const nearest = nearestField(text)
    throw new QueryRefusal(
      'query_unknown_field',
      name.at,
      `unknown field ${text}, ${nearest === undefined ? 'see the list of fields' : `did you mean ${nearest}?`}${text.includes('/') || text.startsWith('http') ? ' A text with a colon is put in double quotes.' : ''}`,
    )
  }
  const matching = [...FIELDS.values()].filter((field) => fits(field.name, name.pieces))
  const fast = matching.filter((field) => field.fast)
  if (matching.length === 0)
    throw new QueryRefusal('query_unknown_field', name.at, `no field is called ${text}, see the list of fields`)
  // Fields that are read out of the text of each event are only asked when none other was meant.
  return fast.length > 0 ? fast : matching
}

/** The pieces stand in the name in their order, the first at its beginning and the last at its end. */
function fits(name: string, pieces: readonly string[]): boolean {
  const first = pieces[0] ?? ''
  const last = pieces.at(-1) ?? ''
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return at <= name.length - last.length
}

/** In quotes one, without one a word. */
function phrasesOf(value: Literal): readonly string[] {
  const text = literalText(value)
  return (value.quoted ? [text] : text.split(/\s+/u)).filter((word) => word !== '')
}

/** `Conditions.like` knows `?` too; here it stands for itself. */
function patternOf(value: Literal): string {
  return value.pieces.map(escapedPattern).join('*')
}

function escapedPattern(text: string): string {
  return text.replaceAll(/[\\*?]/g, String.raw`\$&`)
}

function badValue(value: Literal, why: string): QueryRefusal {
  return new QueryRefusal('query_bad_value', value.at, why)
}
