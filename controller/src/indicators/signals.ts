/** An indicator that names a value of an event, as a signal: which indicator, from whom, how sure, and where in the event. */
import { createHash } from 'node:crypto'
import type { KnownValue } from '@firebreak/shared/indicators/event-values.ts'
import type { Observable } from '@firebreak/shared/indicators/observable.ts'
import type { EventId } from '@firebreak/shared/ids.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import type { Severity, Signal } from '../triage/index.ts'
import type { IndicatorRow } from './rows.ts'

/** Confidence from which a level begins; the scale is that of STIX 2.1, appendix A. Never critical: it is a hint of others. */
const LEVELS: readonly (readonly [from: number, level: Severity])[] = [
  [80, 'high'],
  [50, 'medium'],
  [30, 'low'],
  [0, 'informational'],
]

const WORDS: Readonly<Record<Observable['type'], string>> = {
  ipv4: 'address',
  ipv6: 'address',
  cidr: 'address block',
  domain: 'domain',
  url: 'URL',
  md5: 'file',
  sha1: 'file',
  sha256: 'file',
  ja3: 'TLS client',
  email: 'e-mail address',
}
const ON_THE_NETWORK = new Set<Observable['type']>(['ipv4', 'ipv6', 'cidr', 'domain', 'url', 'ja3'])

export interface Hit {
  readonly stored: StoredEvent
  readonly known: KnownValue
  /** In force, of that value, at least one. */
  readonly rows: readonly IndicatorRow[]
  /** Why the value must not raise an alert by itself. */
  readonly warning: string | undefined
  /** Looked up in stored events, not seen as it came. */
  readonly inThePast: boolean
}

export function signalOfHit({ stored, known, rows, warning, inThePast }: Hit): Signal {
  const { event } = stored
  const best = rows.reduce((most, row) => (row.confidence > most.confidence ? row : most))
  const sources = [...new Set(rows.map(({ source }) => source))].sort()
  const level = warning === undefined ? levelOf(best.confidence) : 'informational'
  const eventId = `${stored.agentId}:${stored.epoch}:${stored.class}:${stored.seq}` as EventId
  const where = known.seen === known.value ? '' : ` (as ${known.seen.slice(0, 200)})`
  const message = [
    `${known.field}${where} is the ${WORDS[known.type]} ${known.value.slice(0, 200)} that ${sources.slice(0, 8).join(', ')} ${sources.length === 1 ? 'names' : 'name'} as malicious`,
    `confidence ${best.confidence}`,
    ...(best.description === null ? [] : [best.description.slice(0, 500)]),
    ...(warning === undefined ? [] : [`it is on a warning list (${warning}) and raises nothing by itself`]),
    ...(inThePast ? ['found in stored events after the indicator came'] : []),
  ].join('; ')
  return {
    agentId: stored.agentId,
    detector: 'indicator',
    ruleId: ruleIdOf(known),
    ruleTitle: `Known malicious ${WORDS[known.type]} ${known.value.slice(0, 120)} (${sources.slice(0, 3).join(', ')})${inThePast ? ', found in stored events' : ''}`,
    ruleSha256: createHash('sha256')
      .update(JSON.stringify(rows.map((row) => [row.source, row.type, row.value, row.confidence])))
      .digest('hex'),
    level,
    ruleStatus: 'test',
    techniques: [],
    tactics: ON_THE_NETWORK.has(known.type) ? ['command-and-control'] : [],
    eventId,
    eventTime: event['@timestamp'],
    event: {
      ...event,
      event: { ...event.event, id: eventId },
      host: { ...event.host, id: stored.agentId },
      message,
      threat: {
        indicator: {
          type: known.type,
          name: known.value,
          confidence: best.confidence,
          provider: sources.slice(0, 32),
          ...(best.reference === null ? {} : { reference: best.reference }),
          ...(best.description === null ? {} : { description: best.description.slice(0, 2_000) }),
          ...(best.tlp === null ? {} : { marking: { tlp: best.tlp } }),
          matched_field: known.field,
          found_in_the_past: inThePast,
          ...(warning === undefined ? {} : { warning_list: warning }),
        },
      },
    },
  }
}

function levelOf(confidence: number): Severity {
  return LEVELS.find(([from]) => confidence >= from)?.[1] ?? 'informational'
}

/** The same value is the same rule, whoever names it. */
function ruleIdOf({ type, value }: Observable): string {
  return `indicator.${type}.${createHash('sha256').update(value).digest('hex').slice(0, 32)}`
}
