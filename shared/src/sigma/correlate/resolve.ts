/**
 * What a correlation's references mean: by id, then by name, first in its own file and then anywhere. Refused are references that are
 * unknown, ambiguous, repeated, in a circle, or to something that is refused; nothing else suffers.
 */
import { Unusable } from '../refusal.ts'
import { type RuleRefusal, ruleKey, type SigmaCorrelation, type SigmaRule } from '../rule.ts'

export type Correlated = SigmaRule | SigmaCorrelation

export interface CorrelationSource {
  readonly of: Correlated
  /** As the correlation names it; expressions use this name. */
  readonly written: string
  /** Alias → field of this source's events. */
  readonly aliases: ReadonlyMap<string, string>
}

export interface ResolvedCorrelation {
  readonly correlation: SigmaCorrelation
  /** In the order written. */
  readonly sources: readonly CorrelationSource[]
  /** Off: another correlation builds on it and does not say `generate`. */
  readonly raises: boolean
}

export interface ResolvedCorrelations {
  readonly correlations: readonly ResolvedCorrelation[]
  /** Rules that only feed correlations and raise nothing themselves. */
  readonly silent: ReadonlySet<SigmaRule>
  readonly refused: readonly RuleRefusal[]
}

/** Correlations that build on correlations; the events of one pass through them one after the other. */
const MAX_DEPTH = 32

/** `refused`: documents that do not run, so that a reference to one of them says so. */
export function resolveCorrelations(
  rules: readonly SigmaRule[],
  correlations: readonly SigmaCorrelation[],
  refusedBefore: readonly RuleRefusal[] = [],
): ResolvedCorrelations {
  if (correlations.length === 0) return { correlations: [], silent: new Set(), refused: [] }
  const known = new Names([...rules, ...correlations])
  const walk = new Walk(known, new Set(refusedBefore.flatMap(({ rule }) => rule ?? [])))
  const refused: RuleRefusal[] = []
  const taken: Omit<ResolvedCorrelation, 'raises'>[] = []
  for (const correlation of correlations) {
    const visited = walk.visit(correlation)
    if (visited instanceof Unusable) refused.push(refusalOf(visited, correlation))
    else taken.push({ correlation, sources: visited })
  }
  const fed = new Set<Correlated>()
  const generated = new Set<Correlated>()
  for (const { correlation, sources } of taken) {
    for (const { of } of sources) (correlation.generate ? generated : fed).add(of)
  }
  const isSilent = (one: Correlated) => fed.has(one) && !generated.has(one)
  return {
    correlations: taken.map((one) => ({ ...one, raises: !isSilent(one.correlation) })),
    silent: new Set(rules.filter(isSilent)),
    refused,
  }
}

class Names {
  readonly #byId = new Map<string, Correlated[]>()
  readonly #byName = new Map<string, Correlated[]>()

  constructor(all: readonly Correlated[]) {
    for (const one of all) {
      if (one.id !== null) append(this.#byId, one.id, one)
      if (one.name !== null) append(this.#byName, one.name, one)
    }
  }

  /** Every document that a reference in `file` may mean. A name is unique within the file of its correlation, not in the world. */
  meantBy(reference: string, file: string): readonly Correlated[] {
    const found = this.#byId.get(reference) ?? this.#byName.get(reference) ?? []
    const near = found.filter((one) => one.file === file)
    return near.length > 0 ? near : found
  }
}

function append(map: Map<string, Correlated[]>, key: string, one: Correlated): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [one])
  else list.push(one)
}

type Visited = readonly CorrelationSource[] | Unusable

class Walk {
  readonly #names: Names
  readonly #refused: ReadonlySet<string>
  readonly #done = new Map<SigmaCorrelation, Visited>()
  readonly #path: SigmaCorrelation[] = []

  constructor(names: Names, refused: ReadonlySet<string>) {
    this.#names = names
    this.#refused = refused
  }

  visit(correlation: SigmaCorrelation): Visited {
    const known = this.#done.get(correlation)
    if (known !== undefined) return known
    const from = this.#path.indexOf(correlation)
    if (from >= 0) return this.#circle(this.#path.slice(from))
    if (this.#path.length >= MAX_DEPTH)
      return new Unusable('correlation_invalid', `correlations build on each other more than ${MAX_DEPTH} deep`)
    this.#path.push(correlation)
    const visited = this.#sourcesOf(correlation)
    this.#path.pop()
    // One of a circle was refused with all of it while it was visited.
    const result = this.#done.get(correlation) ?? visited
    // Too deep from where the walk began; from here it may be fine.
    if (!(result instanceof Unusable) || result.code !== 'correlation_invalid') this.#done.set(correlation, result)
    return result
  }

  #circle(members: readonly SigmaCorrelation[]): Unusable {
    const names = [...members, members[0] as SigmaCorrelation].map((one) => one.name ?? ruleKey(one)).join(' → ')
    for (const member of members) {
      this.#done.set(member, new Unusable('reference_cycle', `it builds on itself: ${names}`, member.rulesLine))
    }
    return this.#done.get(members[0] as SigmaCorrelation) as Unusable
  }

  #sourcesOf(correlation: SigmaCorrelation): Visited {
    const line = correlation.rulesLine
    const sources: CorrelationSource[] = []
    for (const written of correlation.rules) {
      const found = this.#names.meantBy(written, correlation.file)
      const [of, another] = found
      if (of === undefined) {
        const why = this.#refused.has(written) ? 'which is refused itself' : 'and no rule has this id or name'
        return new Unusable('reference_unknown', `it names ${JSON.stringify(written)}, ${why}`, line)
      }
      if (another !== undefined) {
        const places = found.map((one) => `${one.file}, line ${one.line}`).join('; ')
        return new Unusable('reference_ambiguous', `${JSON.stringify(written)} is the name of several: ${places}`, line)
      }
      if (sources.some((source) => source.of === of))
        return new Unusable('reference_repeated', `it names ${JSON.stringify(written)} more than once`, line)
      if (of.kind === 'correlation') {
        const inner = this.visit(of)
        if (inner instanceof Unusable) {
          const why = `it names ${JSON.stringify(written)}, which is refused: ${inner.message}`
          return inner.code === 'correlation_invalid' ? inner : new Unusable('reference_refused', why, line)
        }
      }
      sources.push({ of, written, aliases: aliasesOf(correlation, of) })
    }
    return unknownAlias(correlation, sources) ?? sources
  }
}

function aliasesOf(correlation: SigmaCorrelation, of: Correlated): ReadonlyMap<string, string> {
  const own = new Map<string, string>()
  for (const [alias, fields] of correlation.aliases) {
    const field =
      (of.name === null ? undefined : fields.get(of.name)) ?? (of.id === null ? undefined : fields.get(of.id))
    if (field !== undefined && field !== '') own.set(alias, field)
  }
  return own
}

/** An alias for a rule that the correlation does not name is a slip of the pen. */
function unknownAlias(correlation: SigmaCorrelation, sources: readonly CorrelationSource[]): Unusable | undefined {
  const names = new Set(sources.flatMap(({ of, written }) => [of.name, of.id, written]))
  for (const [alias, fields] of correlation.aliases) {
    for (const rule of fields.keys()) {
      if (names.has(rule)) continue
      const why = `alias ${alias} is for ${JSON.stringify(rule)}, which is none of its rules`
      return new Unusable('reference_unknown', why, correlation.rulesLine)
    }
  }
  return undefined
}

function refusalOf(unusable: Unusable, correlation: SigmaCorrelation): RuleRefusal {
  const { code, message: why, line } = unusable
  return { code, why, line: line || correlation.line, file: correlation.file, rule: ruleKey(correlation) }
}
