/** A match is a signal: who said what about which event. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { EventId } from '@firebreak/shared/ids.ts'
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
