/**
 * All that the log source of an ECS event depends on, as a number: made by plain look-ups, where working out the source walks a dozen
 * paths. Most events are of a handful of kinds.
 */
import type { SigmaEvent } from './event-fields.ts'
import { isRecord } from './windows-fields.ts'

/** Words of `event.category` and `event.type` that tell sources apart; the others change nothing. */
const CATEGORIES = bits(['process', 'file', 'network', 'registry', 'library', 'driver'], 0)
const TYPES = bits(['start', 'end', 'creation', 'change', 'deletion', 'access', 'connection', 'allowed'], 6)
const SYSTEMS: ReadonlyMap<unknown, number> = new Map([
  ['linux', 1 << 14],
  ['windows', 2 << 14],
  ['macos', 3 << 14],
  ['darwin', 3 << 14],
])
const RENAME = 1 << 16
const DNS = 1 << 17
const AUDITED = 1 << 18
const RECORDED = 1 << 19

export interface EcsMarks {
  readonly bits: number
  readonly dataset: string
}

/** `undefined`: it depends on more. */
export function ecsMarks(event: SigmaEvent): EcsMarks | undefined {
  const { event: kind, host, network } = event
  if (!isRecord(kind) || !isRecord(host) || !isRecord(host['os']) || hasWholeNames(event)) return undefined
  const { category, type, action, dataset } = kind
  // The services of a login are told by the names of programs.
  if (!Array.isArray(category) || category.includes('authentication') || category.includes('session')) return undefined
  const system = SYSTEMS.get(host['os']['type'])
  if (system === undefined || !Array.isArray(type) || (dataset !== undefined && typeof dataset !== 'string'))
    return undefined
  let marks = system | bitsOf(category, CATEGORIES) | bitsOf(type, TYPES)
  if (typeof action === 'string' && action.includes('rename')) marks |= RENAME
  if (isRecord(network) && network['protocol'] === 'dns') marks |= DNS
  if (isRecord(event['auditd'])) marks |= AUDITED
  const own = event['firebreak']
  if (isRecord(own) && isRecord(own['record'])) marks |= RECORDED
  return { bits: marks, dataset: dataset ?? '' }
}

/** Fields may also stand under their whole name; such events are looked at in full. */
function hasWholeNames(event: SigmaEvent): boolean {
  return (
    event['event.category'] !== undefined ||
    event['event.type'] !== undefined ||
    event['event.action'] !== undefined ||
    event['event.dataset'] !== undefined ||
    event['host.os.type'] !== undefined ||
    event['network.protocol'] !== undefined
  )
}

function bits(words: readonly string[], from: number): ReadonlyMap<unknown, number> {
  return new Map(words.map((word, at) => [word, 1 << (from + at)]))
}

function bitsOf(words: readonly unknown[], known: ReadonlyMap<unknown, number>): number {
  let found = 0
  for (const word of words) found |= known.get(word) ?? 0
  return found
}
