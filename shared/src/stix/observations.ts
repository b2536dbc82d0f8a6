/** What was observed, as patterns look at it: `observed-data` of STIX 2.0 with its objects inside, of 2.1 in a bundle with them beside it. */
import { timeOf } from './tokens.ts'

export interface Observation {
  /** Nanoseconds since 1970. */
  readonly first: bigint
  readonly last: bigint
  /** How many times it was seen. */
  readonly count: number
  /** Ids of the objects that it is about. */
  readonly roots: readonly string[]
  readonly objects: ReadonlyMap<string, StixObject>
}
export type StixObject = Readonly<Record<string, unknown>>

/** `undefined`: it is neither. */
export function observationsOf(documents: readonly unknown[]): Observation[] | undefined {
  const all: Observation[] = []
  for (const document of documents) {
    if (!isObject(document)) return undefined
    const inside =
      document['type'] === 'bundle' && Array.isArray(document['objects']) ? document['objects'] : [document]
    const members = inside.filter(isObject)
    const beside = new Map(members.map((member) => [String(member['id']), member]))
    for (const member of members) {
      if (member['type'] !== 'observed-data') continue
      const one = observationOf(member, beside)
      if (!one) return undefined
      all.push(one)
    }
  }
  return all
}

function observationOf(data: StixObject, beside: ReadonlyMap<string, StixObject>): Observation | undefined {
  const first = timeOf(String(data['first_observed']))
  const last = timeOf(String(data['last_observed']))
  const count = data['number_observed']
  if (first === undefined || last === undefined || typeof count !== 'number' || !(count >= 1)) return undefined
  const refs = data['object_refs']
  if (Array.isArray(refs)) {
    const roots = refs.map(String).filter((id) => beside.has(id))
    return { first, last, count, roots, objects: beside }
  }
  const inside = isObject(data['objects']) ? data['objects'] : {}
  const objects = new Map(Object.entries(inside).flatMap(([id, object]) => (isObject(object) ? [[id, object]] : [])))
  return { first, last, count, roots: [...objects.keys()], objects }
}

function isObject(value: unknown): value is StixObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
