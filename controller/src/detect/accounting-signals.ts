/** What the controller's own books say: events without account, two machines with one key, a receipt that never came. */
import { createHash } from 'node:crypto'
import type { AgentId, EventId } from '@firebreak/shared/ids.ts'
import type { Severity, Signal } from '../triage/index.ts'

export const ACCOUNTING_KINDS = ['unaccounted_events', 'cloned_key', 'missing_receipt', 'broken_receipt_chain'] as const
export type AccountingKind = (typeof ACCOUNTING_KINDS)[number]

interface Card {
  readonly title: string
  readonly level: Severity
  readonly techniques: readonly string[]
  readonly tactics: readonly string[]
}

/** Status `test` for all: a book that does not close asks a person before anything is cut off. */
const CARDS: Readonly<Record<AccountingKind, Card>> = {
  unaccounted_events: {
    title: 'Events are missing that nobody reported as dropped',
    level: 'medium',
    techniques: ['T1562.006'],
    tactics: ['defense-evasion'],
  },
  cloned_key: {
    title: 'Two machines use the key of one agent',
    level: 'high',
    techniques: ['T1552.004'],
    tactics: ['credential-access'],
  },
  missing_receipt: {
    title: 'A receipt of an agent is missing from its chain',
    level: 'medium',
    techniques: ['T1562.001'],
    tactics: ['defense-evasion'],
  },
  broken_receipt_chain: {
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
  const ruleId = `accounting.${finding.kind}`
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
