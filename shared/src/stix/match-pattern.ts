/**
 * Whether a pattern holds over observations (STIX 2.1, 9.3 to 9.7). An observation is used by one part of the pattern only, as often as
 * it was seen. Ways to choose are tried one after the other and not all kept; after `STEPS` of them it is said to be too much.
 */
import { type Result, ok, refuse } from '../result.ts'
import { foundOf, holds, MatchError } from './compare.ts'
import type { Observation } from './observations.ts'
import { ANY, type ComparisonExpression, type ObservationExpression, type PathStep, type Qualifier } from './pattern.ts'

const STEPS = 200_000
const MAX_DEREFERENCES = 32

export type MatchRefusal = 'not_comparable' | 'too_many_ways'

export function matchPattern(
  pattern: ObservationExpression,
  observations: readonly Observation[],
): Result<boolean, MatchRefusal> {
  try {
    const search = new Search(observations)
    for (const _ of search.ways(pattern, search.nothing)) return ok(true)
    return ok(false)
  } catch (thrown) {
    if (thrown instanceof MatchError) return refuse('not_comparable', thrown.message)
    if (thrown instanceof TooMany) return refuse('too_many_ways', `more than ${STEPS} ways to choose observations`)
    throw thrown
  }
}

class TooMany extends Error {}

/** Which observations are taken by one part of the pattern. */
interface Way {
  /** How often each is taken, by all parts so far. */
  readonly taken: readonly number[]
  /** Of this part: the least last time, the greatest first time; and the whole span. */
  readonly earliestLast: bigint
  readonly latestFirst: bigint
  readonly earliestFirst: bigint
  readonly latestLast: bigint
  readonly members: readonly number[]
}

class Search {
  readonly nothing: readonly number[]
  readonly #observations: readonly Observation[]
  readonly #known = new Map<ComparisonExpression, readonly boolean[]>()
  #steps = 0

  constructor(observations: readonly Observation[]) {
    this.#observations = observations
    this.nothing = observations.map(() => 0)
  }

  *ways(node: ObservationExpression, taken: readonly number[]): Generator<Way> {
    switch (node.kind) {
      case 'observation': {
        const matching = this.#matching(node.of)
        for (const [at, observation] of this.#observations.entries()) {
          if (matching[at] !== true || (taken[at] ?? 0) >= observation.count) continue
          this.#step()
          yield {
            taken: taken.map((times, index) => (index === at ? times + 1 : times)),
            earliestLast: observation.last,
            latestFirst: observation.first,
            earliestFirst: observation.first,
            latestLast: observation.last,
            members: [at],
          }
        }
        return
      }
      case 'or':
        for (const part of node.parts) yield* this.ways(part, taken)
        return
      case 'and':
      case 'followedby':
        yield* this.#all(node.parts, 0, undefined, taken, node.kind === 'followedby')
        return
      case 'qualified':
        yield* this.#qualified(node.of, node.by, taken)
        return
      default:
        throw new Error(`unhandled expression ${String(node satisfies never)}`)
    }
  }

  *#all(
    parts: readonly ObservationExpression[],
    at: number,
    before: Way | undefined,
    taken: readonly number[],
    inOrder: boolean,
  ): Generator<Way> {
    const part = parts[at]
    if (part === undefined) {
      if (before) yield before
      return
    }
    for (const way of this.ways(part, taken)) {
      this.#step()
      if (before && inOrder && way.earliestFirst < before.latestLast) continue
      yield* this.#all(parts, at + 1, before ? joined(before, way) : way, way.taken, inOrder)
    }
  }

  *#qualified(of: ObservationExpression, by: Qualifier, taken: readonly number[]): Generator<Way> {
    if (by.kind === 'repeats') {
      yield* this.#repeated(of, by.times, undefined, taken, 0)
      return
    }
    for (const way of this.ways(of, taken)) {
      this.#step()
      if (by.kind === 'within' ? isWithin(way, by.seconds) : this.#isBetween(way, by.start, by.stop)) yield way
    }
  }

  /** The order of the repetitions means nothing, so each begins with no earlier an observation than the one before. */
  *#repeated(
    of: ObservationExpression,
    times: number,
    before: Way | undefined,
    taken: readonly number[],
    from: number,
  ): Generator<Way> {
    if (times === 0) {
      if (before) yield before
      return
    }
    const left = this.#observations.reduce((sum, { count }, at) => sum + count - (taken[at] ?? 0), 0)
    if (left < times) return
    for (const way of this.ways(of, taken)) {
      this.#step()
      const first = Math.min(...way.members)
      if (first < from) continue
      yield* this.#repeated(of, times - 1, before ? joined(before, way) : way, way.taken, first)
    }
  }

  #isBetween({ members }: Way, start: bigint, stop: bigint): boolean {
    return members.every((at) => {
      const one = this.#observations[at]
      return one !== undefined && one.first < stop && one.last >= start
    })
  }

  #matching(expression: ComparisonExpression): readonly boolean[] {
    const known = this.#known.get(expression)
    if (known) return known
    const matching = this.#observations.map((observation) => rootsOf(expression, observation).size > 0)
    this.#known.set(expression, matching)
    return matching
  }

  #step(): void {
    if (++this.#steps > STEPS) throw new TooMany()
  }
}

function joined(a: Way, b: Way): Way {
  return {
    taken: b.taken,
    earliestLast: a.earliestLast < b.earliestLast ? a.earliestLast : b.earliestLast,
    latestFirst: a.latestFirst > b.latestFirst ? a.latestFirst : b.latestFirst,
    earliestFirst: a.earliestFirst < b.earliestFirst ? a.earliestFirst : b.earliestFirst,
    latestLast: a.latestLast > b.latestLast ? a.latestLast : b.latestLast,
    members: [...a.members, ...b.members],
  }
}

function isWithin({ latestFirst, earliestLast }: Way, seconds: number): boolean {
  return Number(latestFirst - earliestLast) <= seconds * 1e9
}

/** The objects of which the expression holds: both sides of an AND are about one and the same object. */
function rootsOf(expression: ComparisonExpression, observation: Observation): ReadonlySet<string> {
  switch (expression.kind) {
    case 'and':
      return expression.parts.map((part) => rootsOf(part, observation)).reduce((all, one) => all.intersection(one))
    case 'or':
      return expression.parts.map((part) => rootsOf(part, observation)).reduce((all, one) => all.union(one))
    case 'exists':
    case 'comparison': {
      const roots = observation.roots.filter((id) => {
        const object = observation.objects.get(id)
        if (object?.['type'] !== expression.objectType) return false
        const values = [...valuesAt(object, expression.path, 0, '', observation, 0)]
        if (expression.kind === 'exists') return values.length > 0 !== expression.negated
        return values.some(({ value, property }) => {
          const found = foundOf(value, property)
          return found !== undefined && holds(expression, found)
        })
      })
      return new Set(roots)
    }
    default:
      throw new Error(`unhandled comparison ${String(expression satisfies never)}`)
  }
}

interface Value {
  readonly value: unknown
  readonly property: string
}

function* valuesAt(
  value: unknown,
  path: readonly PathStep[],
  at: number,
  property: string,
  observation: Observation,
  followed: number,
): Generator<Value> {
  const step = path[at]
  if (value === undefined || value === null) return
  if (step === undefined) {
    yield { value, property }
    return
  }
  if (typeof step === 'string') {
    // `..._ref` and the members of `..._refs` are ids of other objects (STIX 2.1, 9.7.2).
    if (typeof value === 'string' && /_refs?$/.test(property)) {
      if (followed >= MAX_DEREFERENCES) return
      yield* valuesAt(observation.objects.get(value), path, at, '', observation, followed + 1)
    } else if (typeof value === 'object' && !Array.isArray(value) && Object.hasOwn(value, step))
      yield* valuesAt((value as Readonly<Record<string, unknown>>)[step], path, at + 1, step, observation, followed)
    return
  }
  if (!Array.isArray(value)) return
  const members: readonly unknown[] = step === ANY ? value : value.slice(step, step + 1)
  for (const member of members) yield* valuesAt(member, path, at + 1, property, observation, followed)
}
