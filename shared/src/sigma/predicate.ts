/** Tests, selections and conditions as closures over a view of one event. */
import ipaddr from 'ipaddr.js'
import type { Result } from '../result.ts'
import { type EventView, type FieldNames, type FieldText, lowerCase, plainDashes } from './event-view.ts'
import { compileRegex } from './regex.ts'
import { Unusable } from './refusal.ts'
import type { Anchor, Comparison, Condition, Detection, DetectionItem, Test, Token } from './rule.ts'
import { joinTokens } from './sigma-text.ts'
import { textMatcher, type TextMatcher } from './text-matcher.ts'
import { timePartOf } from './time-part.ts'

export type Predicate = (view: EventView) => boolean

/** Rough order in which parts of a conjunction are tried: the cheap ones first. */
const COST = { field: 1, text: 2, glob: 3, regex: 8, keyword: 10 } as const
interface Costed {
  readonly predicate: Predicate
  readonly cost: number
}

export function compileCondition(condition: Condition, selections: ReadonlyMap<string, Costed>): Costed {
  switch (condition.kind) {
    case 'selection':
      return selections.get(condition.name) as Costed
    case 'not': {
      const { predicate, cost } = compileCondition(condition.of, selections)
      return { predicate: (view) => !predicate(view), cost }
    }
    case 'and':
      return every(condition.of.map((part) => compileCondition(part, selections)))
    case 'or':
      return some(condition.of.map((part) => compileCondition(part, selections)))
    default:
      throw new Error('unhandled condition', { cause: condition satisfies never })
  }
}

export function compileDetection(detection: Detection, fields: FieldNames): Costed {
  switch (detection.kind) {
    case 'all':
      return every(detection.of.map((part) => compileDetection(part, fields)))
    case 'any':
      return some(detection.of.map((part) => compileDetection(part, fields)))
    case 'item':
      return compileItem(detection, fields)
    default:
      throw new Error('unhandled detection', { cause: detection satisfies never })
  }
}

export function every(parts: readonly Costed[]): Costed {
  const [first, second, ...more] = [...parts].sort((one, other) => one.cost - other.cost)
  if (first === undefined) return { predicate: () => true, cost: 0 }
  if (second === undefined) return first
  const cost = first.cost + second.cost
  const [a, b] = [first.predicate, second.predicate]
  if (more.length === 0) return { predicate: (view) => a(view) && b(view), cost }
  const rest = more.map((part) => part.predicate)
  return {
    predicate: (view) => {
      if (!a(view) || !b(view)) return false
      for (let index = 0; index < rest.length; index++) if (!(rest[index] as Predicate)(view)) return false
      return true
    },
    cost: cost + more.length,
  }
}

function some(parts: readonly Costed[]): Costed {
  const [first, second, ...more] = [...parts].sort((one, other) => one.cost - other.cost)
  if (first === undefined) return { predicate: () => false, cost: 0 }
  if (second === undefined) return first
  const cost = parts.reduce((sum, part) => sum + part.cost, 0)
  const [a, b] = [first.predicate, second.predicate]
  if (more.length === 0) return { predicate: (view) => a(view) || b(view), cost }
  const rest = more.map((part) => part.predicate)
  return {
    predicate: (view) => {
      if (a(view) || b(view)) return true
      for (let index = 0; index < rest.length; index++) if ((rest[index] as Predicate)(view)) return true
      return false
    },
    cost,
  }
}

function compileItem(item: DetectionItem, fields: FieldNames): Costed {
  const field = item.field === null ? null : fields.numberOf(item.field)
  const tests = item.tests.map((test) => (field === null ? keywordTest(test) : fieldTest(test, field, fields)))
  const { predicate, cost } = item.join === 'all' ? every(tests) : some(tests)
  if (!item.negated) return { predicate, cost }
  if (field === null) return { predicate: (view) => !predicate(view), cost }
  // neq: "the field is different from the specified values" speaks of a field that is there.
  return { predicate: (view) => view.raw(field) !== undefined && !predicate(view), cost }
}

/** A keyword is found when one value of the event holds it. */
function keywordTest(test: Test): Costed {
  switch (test.kind) {
    case 'text': {
      const match = prepared(test)
      const read = test.cased ? (view: EventView) => view.leaves() : (view: EventView) => view.lowerLeaves()
      const { dashes } = test
      return {
        predicate: (view) => read(view).some((leaf) => match(dashes ? plainDashes(leaf) : leaf)),
        cost: COST.keyword,
      }
    }
    case 'regex': {
      const expression = usable(compileRegex(joinedText(test.tokens), test.flags))
      return { predicate: (view) => view.leaves().some((leaf) => expression.test(leaf)), cost: COST.keyword * 2 }
    }
    case 'one-of':
      return some(test.tests.map(keywordTest))
    default:
      throw new Unusable('value_invalid', `a keyword cannot be a ${test.kind} test`)
  }
}

function fieldTest(test: Test, field: number, fields: FieldNames): Costed {
  switch (test.kind) {
    case 'text':
      return textTest(test, field)
    case 'regex': {
      const expression = usable(compileRegex(joinedText(test.tokens), test.flags))
      const { literals } = expression
      const test1: TextMatcher = (subject) => expression.test(subject)
      if (literals === null) return { predicate: (view) => anyText(view.text(field), test1), cost: COST.regex * 2 }
      return {
        predicate: (view) =>
          anyText(view.lower(field), (subject) => literals.some((literal) => subject.includes(literal))) &&
          anyText(view.text(field), test1),
        cost: COST.regex,
      }
    }
    case 'cidr':
      return cidrTest(joinedText(test.tokens), field)
    case 'number': {
      const { value, written } = test
      const shown = String(value)
      const is = (found: unknown) =>
        typeof found === 'string' ? found === written || found === shown : found === value
      return { predicate: (view) => anyValue(view.raw(field), is), cost: COST.field }
    }
    case 'boolean': {
      const { value } = test
      const is = (found: unknown) =>
        found === value || (typeof found === 'string' && found.toLowerCase() === String(value))
      return { predicate: (view) => anyValue(view.raw(field), is), cost: COST.field }
    }
    case 'null': {
      const is = (found: unknown) => found === null || found === undefined
      return { predicate: (view) => anyValue(view.raw(field), is), cost: COST.field }
    }
    case 'exists': {
      const { expected } = test
      return { predicate: (view) => (view.raw(field) !== undefined) === expected, cost: COST.field }
    }
    case 'compare': {
      const compare = comparing(test.operator, test.value)
      return { predicate: (view) => anyValue(view.raw(field), compare), cost: COST.field }
    }
    case 'time': {
      const { part, operator, value } = test
      const holds = operator === 'eq' ? (found: number) => found === value : ordering(operator, value)
      return {
        predicate: (view) =>
          anyValue(view.raw(field), (found) => {
            const number = timePartOf(found, part)
            return number !== null && holds(number)
          }),
        cost: COST.glob,
      }
    }
    case 'field':
      return fieldReference(field, fields.numberOf(test.field), test.anchor, test.cased)
    case 'one-of':
      return some(test.tests.map((inner) => fieldTest(inner, field, fields)))
    default:
      throw new Error('unhandled test', { cause: test satisfies never })
  }
}

type TextTest = Extract<Test, { kind: 'text' }>

function prepared(test: TextTest): TextMatcher {
  const tokens = joinTokens(test.tokens).map((token) => {
    if (typeof token !== 'string') return token
    const text = test.dashes ? plainDashes(token) : token
    return test.cased ? text : lowerCase(text)
  })
  return textMatcher(tokens)
}

function textTest(test: TextTest, field: number): Costed {
  const match = prepared(test)
  const cost = test.tokens.some(
    (token, index) => typeof token !== 'string' && index > 0 && index < test.tokens.length - 1,
  )
    ? COST.glob
    : COST.text
  if (test.cased) {
    const { dashes } = test
    const cased: TextMatcher = dashes ? (subject) => match(plainDashes(subject)) : match
    return { predicate: (view) => anyText(view.text(field), cased), cost }
  }
  if (test.dashes) return { predicate: (view) => anyText(view.dashed(field), match), cost }
  return { predicate: (view) => anyText(view.lower(field), match), cost }
}

function anyText(text: FieldText, match: TextMatcher): boolean {
  if (typeof text === 'string') return match(text)
  return text !== undefined && text.some(match)
}

function anyValue(value: unknown, holds: (value: unknown) => boolean): boolean {
  if (!Array.isArray(value)) return holds(value)
  // An empty list has no value at all.
  return value.length === 0 ? holds(undefined) : (value as unknown[]).some(holds)
}

function joinedText(tokens: readonly Token[]): string {
  return tokens.map((token) => (typeof token === 'string' ? token : '')).join('')
}

function usable<T>(result: Result<T, 'regex_unsupported' | 'regex_too_long'>): T {
  if (result.ok) return result.value
  throw new Unusable(result.code, result.why)
}

function ordering(operator: Comparison, limit: number): (found: number) => boolean {
  switch (operator) {
    case 'lt':
      return (found) => found < limit
    case 'lte':
      return (found) => found <= limit
    case 'gt':
      return (found) => found > limit
    case 'gte':
      return (found) => found >= limit
    default:
      throw new Error('unhandled operator', { cause: operator satisfies never })
  }
}

/** Numbers by size; text that is no number only with text, character by character. */
function comparing(operator: Comparison, limit: number | string): (found: unknown) => boolean {
  if (typeof limit === 'number') {
    const holds = ordering(operator, limit)
    return (found) => {
      if (typeof found === 'number') return holds(found)
      if (typeof found !== 'string' || found.trim() === '') return false
      const number = Number(found)
      return !Number.isNaN(number) && holds(number)
    }
  }
  const wanted = lowerCase(limit)
  const holds = ordering(operator, 0)
  return (found) => {
    if (typeof found !== 'string') return false
    const text = lowerCase(found)
    return holds(text < wanted ? -1 : text > wanted ? 1 : 0)
  }
}

function cidrTest(text: string, field: number): Costed {
  const [network, bits] = parseNetwork(text)
  const contains = (found: unknown): boolean => {
    if (typeof found !== 'string' || found.length > 64 || !ipaddr.isValid(found)) return false
    let address = ipaddr.parse(found)
    if (address.kind() === 'ipv4' && !ipaddr.IPv4.isValidFourPartDecimal(found)) return false
    // ::ffff:10.0.0.1 is how an IPv6 socket writes an IPv4 peer.
    if (address.kind() !== network.kind() && address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()) {
      address = address.toIPv4Address()
    }
    return address.kind() === network.kind() && address.match(network, bits)
  }
  return { predicate: (view) => anyValue(view.raw(field), contains), cost: COST.glob }
}

function parseNetwork(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text)
  if (!ipaddr.isValid(text)) throw new Unusable('value_invalid', `${JSON.stringify(text)} is not a network`)
  const address = ipaddr.parse(text)
  return [address, address.kind() === 'ipv4' ? 32 : 128]
}

const ANCHORED: Readonly<Record<Anchor, (subject: string, other: string) => boolean>> = {
  equals: (subject, other) => subject === other,
  contains: (subject, other) => subject.includes(other),
  startswith: (subject, other) => subject.startsWith(other),
  endswith: (subject, other) => subject.endsWith(other),
}

/** Both fields must be there; lists are compared value by value. */
function fieldReference(field: number, other: number, anchor: Anchor, cased: boolean): Costed {
  const holds = ANCHORED[anchor]
  const read = (view: EventView, of: number) => (cased ? view.text(of) : view.lower(of))
  return {
    predicate: (view) => {
      const values = read(view, other)
      return anyText(read(view, field), (subject) => anyText(values, (value) => holds(subject, value)))
    },
    cost: COST.glob,
  }
}
