/** A match is a signal: who said what about which event. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { EventId } from '@firebreak/shared/ids.ts'
import type { Firing } from '@firebreak/shared/sigma/correlate/correlator.ts'
import type { Correlated } from '@firebreak/shared/sigma/correlate/resolve.ts'
import { firingInWords } from '@firebreak/shared/sigma/correlate/words.ts'
import { ruleKey, type SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import type { Signal } from '../triage/index.ts'
import { tacticsOf, techniquesOf } from './attack-tags.ts'

export function signalOf(rule: SigmaRule, stored: StoredEvent): Signal {
  const { event } = stored
  return {
    agentId: stored.agentId,
    // An alert event is the agent's own finding; the rule only gives it a name and a level.
    detector: event.event.kind === 'alert' ? 'agent' : 'sigma',
    ruleId: ruleKey(rule),
    ruleTitle: rule.title,
    ruleSha256: rule.sha256,
    level: rule.level ?? 'medium',
    ruleStatus: rule.status,
    techniques: techniquesOf(rule.tags),
    tactics: tacticsOf(rule.tags),
    eventId: eventIdOf(stored),
    eventTime: event['@timestamp'],
    event: withIdentity(event, stored),
  }
}

/** Of a correlation, at the event with which its condition held; so the same events lead to the same signal however often they are seen. */
export function correlationSignal(firing: Firing, sources: readonly Correlated[], stored: StoredEvent): Signal {
  const { correlation, fromMs, toMs, events, measured, group, refs } = firing
  const { event } = stored
  const tags = correlation.tags.length > 0 ? correlation.tags : sources.flatMap((source) => source.tags)
  const summary = firingInWords(firing)
  const seen = withIdentity(event, stored)
  return {
    agentId: stored.agentId,
    detector: 'sigma',
    ruleId: ruleKey(correlation),
    ruleTitle: correlation.title,
    ruleSha256: correlation.sha256,
    level: correlation.level ?? 'medium',
    ruleStatus: correlation.status,
    techniques: techniquesOf(tags),
    tactics: tacticsOf(tags),
    eventId: eventIdOf(stored),
    eventTime: event['@timestamp'],
    event: {
      message: summary,
      ...seen,
      firebreak: {
        ...event.firebreak,
        correlation: {
          type: correlation.type,
          summary,
          group: Object.fromEntries(group.map(({ field, value }) => [field, value])),
          from: new Date(fromMs).toISOString(),
          to: new Date(toMs).toISOString(),
          events,
          measured,
          event_ids: refs,
        },
      },
    },
  }
}

export function eventIdOf(stored: Pick<StoredEvent, 'agentId' | 'epoch' | 'class' | 'seq'>): EventId {
  return `${stored.agentId}:${stored.epoch}:${stored.class}:${stored.seq}` as EventId
}

const GRAVITY = { informational: 0, low: 1, medium: 2, high: 3, critical: 4 } as const

/** The strongest `most` rules; in the order given among equals. */
export function strongestRules(rules: readonly SigmaRule[], most: number): readonly SigmaRule[] {
  if (rules.length <= most) return rules
  return rules.toSorted((a, b) => GRAVITY[b.level ?? 'medium'] - GRAVITY[a.level ?? 'medium']).slice(0, most)
}

function withIdentity(event: Event, stored: StoredEvent): Readonly<Record<string, unknown>> {
  return {
    ...event,
    event: { ...event.event, id: eventIdOf(stored) },
    host: { ...event.host, id: stored.agentId },
  }
}
