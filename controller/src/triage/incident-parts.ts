/** What an incident adds to its strongest alert: several views of one lineage, a way forward through ATT&CK, several hosts. */
import { logOddsOf } from './confidence.ts'
import { ruleOfKey } from './dedup.ts'
import type { ConfidencePart, Entities, Severity } from './index.ts'
import { tacticChain } from './tactics.ts'
import { WEIGHTS } from './weights.ts'

export interface IncidentMember {
  readonly agentId: string
  readonly dedupKey: string
  readonly title: string
  readonly severity: Severity
  readonly parts: readonly ConfidencePart[]
  readonly tactics: readonly string[]
  readonly entities: Entities
  readonly firstSeen: string
}

/** The alert that the incident rests on. `members` is not empty. */
export function strongestOf<M extends IncidentMember>(members: readonly M[]): M {
  return members.reduce((most, member) => (logOddsOf(member.parts) > logOddsOf(most.parts) ? member : most))
}

export function incidentParts(members: readonly IncidentMember[]): ConfidencePart[] {
  const strongest = strongestOf(members)
  const others = members.filter((member) => member !== strongest && member.severity !== 'informational')
  return [...strongest.parts, ...lineage(strongest, others), ...tactics(strongest, others), ...hosts(strongest, others)]
}

function lineage(strongest: IncidentMember, others: readonly IncidentMember[]): ConfidencePart[] {
  const rule = ruleOfKey(strongest.dedupKey)
  const own = new Set(strongest.entities.processes)
  const onLineage = new Set<string>()
  const onHost = new Set<string>()
  for (const other of others) {
    const otherRule = ruleOfKey(other.dedupKey)
    if (otherRule === rule || other.agentId !== strongest.agentId) continue
    if (other.entities.processes.some((id) => own.has(id))) onLineage.add(otherRule)
    else onHost.add(otherRule)
  }
  const parts: ConfidencePart[] = []
  if (onLineage.size > 0) {
    parts.push({
      name: 'rules on one lineage',
      logOdds: atMost(WEIGHTS.lineage, onLineage.size),
      why: `${onLineage.size} more ${onLineage.size === 1 ? 'rule matches' : 'rules match'} the same line of processes`,
    })
  }
  const elsewhere = [...onHost].filter((other) => !onLineage.has(other)).length
  if (elsewhere > 0) {
    parts.push({
      name: 'rules on the host',
      logOdds: atMost(WEIGHTS.sameHost, elsewhere),
      why: `${elsewhere} more ${elsewhere === 1 ? 'rule matches' : 'rules match'} on the same host about the same time`,
    })
  }
  return parts
}

function tactics(strongest: IncidentMember, others: readonly IncidentMember[]): ConfidencePart[] {
  // One step a rule and host: a rule that matches again is not a further stage.
  const steps = new Map<string, { at: string; tactics: readonly string[] }>()
  for (const member of [strongest, ...others]) {
    const key = `${member.agentId} ${ruleOfKey(member.dedupKey)}`
    const known = steps.get(key)
    if (known === undefined || member.firstSeen < known.at) {
      steps.set(key, { at: member.firstSeen, tactics: member.tactics })
    }
  }
  const chain = tacticChain([...steps.values()])
  if (chain.length < 2) return []
  const logOdds = Math.min(WEIGHTS.tacticMost, WEIGHTS.tacticStep * (chain.length - 1))
  return [{ name: 'tactics in order', logOdds, why: `it goes forward through ATT&CK: ${chain.join(', ')}` }]
}

function hosts(strongest: IncidentMember, others: readonly IncidentMember[]): ConfidencePart[] {
  const marks = new Set([...strongest.entities.hashes, ...strongest.entities.addresses])
  const hit = new Set<string>()
  for (const other of others) {
    if (other.agentId === strongest.agentId) continue
    if ([...other.entities.hashes, ...other.entities.addresses].some((mark) => marks.has(mark))) hit.add(other.agentId)
  }
  if (hit.size === 0) return []
  return [
    {
      name: 'several hosts',
      logOdds: WEIGHTS.hosts,
      why: `the same file or address is involved on ${hit.size + 1} hosts`,
    },
  ]
}

function atMost(table: readonly number[], count: number): number {
  return table[Math.min(count, table.length - 1)] ?? 0
}
