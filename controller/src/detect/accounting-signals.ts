/** What the controller's own books say: events without account, two machines with one key, a receipt that never came. */
import { createHash } from 'node:crypto'
import type { AgentId, EventId } from '@firebreak/shared/ids.ts'
import type { Severity, Signal } from '../triage/index.ts'

export const ACCOUNTING_KINDS = [
  'unaccounted_events',
  'events_damaged',
  'host_cloned',
  'host_reverted',
  'missing_receipt',
  'broken_receipt_chain',
] as const
export type AccountingKind = (typeof ACCOUNTING_KINDS)[number]

interface Card {
  readonly ruleId: string
  readonly title: string
  readonly level: Severity
  readonly techniques: readonly string[]
  readonly tactics: readonly string[]
}

/** The rule whose alerts are over when every event is accounted for again. */
export const UNACCOUNTED_RULE = 'accounting.unaccounted_events'

/** Status `test` for all: a book that does not close asks a person before anything is cut off. */
const CARDS: Readonly<Record<AccountingKind, Card>> = {
  unaccounted_events: {
    ruleId: UNACCOUNTED_RULE,
    title: 'Events are missing that nobody reported as dropped',
    level: 'medium',
    techniques: ['T1562.006'],
    tactics: ['defense-evasion'],
  },
  events_damaged: {
    ruleId: 'accounting.events_damaged',
    title: 'Events that were acknowledged cannot be read any more',
    level: 'medium',
    techniques: ['T1565.001'],
    tactics: ['impact'],
  },
  host_cloned: {
    ruleId: 'host.cloned',
    title: 'Two machines use the key of one agent',
    level: 'high',
    techniques: ['T1552.004'],
    tactics: ['credential-access'],
  },
  host_reverted: {
    ruleId: 'host.reverted',
    title: 'The disk of a host went back in time',
    level: 'medium',
    techniques: ['T1070'],
    tactics: ['defense-evasion'],
  },
  missing_receipt: {
    ruleId: 'accounting.missing_receipt',
    title: 'A receipt of an agent is missing from its chain',
    level: 'medium',
    techniques: ['T1562.001'],
    tactics: ['defense-evasion'],
  },
  broken_receipt_chain: {
    ruleId: 'accounting.broken_receipt_chain',
    title: 'A receipt does not continue the chain of its agent',
    level: 'high',
    techniques: ['T1562.001'],
    tactics: ['defense-evasion'],
  },
}

export interface AccountingFinding {
  readonly kind: AccountingKind
  readonly agentId: AgentId
  /** What makes it one finding: the same key again is the same signal. Such as `process:1041-1050`. */
  readonly key: string
  readonly atMs: number
  /** In words, with the numbers. */
  readonly message: string
}

export function accountingSignal(finding: AccountingFinding): Signal {
  const card = CARDS[finding.kind]
  const at = new Date(finding.atMs).toISOString()
  const { ruleId } = card
  const eventId = `${finding.agentId}:${ruleId}:${finding.key}` as EventId
  return {
    agentId: finding.agentId,
    detector: 'accounting',
    ruleId,
    ruleTitle: card.title,
    ruleSha256: createHash('sha256')
      .update(JSON.stringify([ruleId, card]))
      .digest('hex'),
    level: card.level,
    ruleStatus: 'test',
    techniques: card.techniques,
    tactics: card.tactics,
    eventId,
    eventTime: at,
    event: {
      '@timestamp': at,
      event: { kind: 'alert', category: ['host'], type: ['info'], action: finding.kind, id: eventId },
      host: { id: finding.agentId },
      service: { name: 'firebreak' },
      message: finding.message,
    },
  }
}
