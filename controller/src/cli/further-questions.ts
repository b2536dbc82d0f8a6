/** What to ask next about what signals saw, each a command to copy. Only values that a shell reads as they stand: hosts wrote them. */
import type { Signal } from '../api/alerts.ts'
import { isRecord } from '../api/json-column.ts'

/** Of each kind: more would be a list of everything. */
const MOST = 2
const PLAIN = /^[\w.:-]{1,128}$/

export function furtherQuestions(signals: readonly Signal[], hostOf: (agentId: string) => string): string[] {
  const trees = new Set<string>()
  const values = new Set<string>()
  for (const { agent_id: agentId, event } of signals) {
    const entity = textAt(event, 'process', 'entity_id')
    if (entity !== undefined && trees.size < MOST) trees.add(`firebreak events tree ${hostOf(agentId)} ${entity}`)
    for (const value of [
      textAt(event, 'process', 'hash', 'sha256'),
      textAt(event, 'file', 'hash', 'sha256'),
      textAt(event, 'destination', 'ip'),
      textAt(event, 'dns', 'question', 'name'),
    ])
      if (value !== undefined && values.size < MOST * 2) values.add(`firebreak events seen ${value}`)
  }
  return [...trees, ...values]
}

function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = path.reduce<unknown>((at, part) => (isRecord(at) ? at[part] : undefined), value)
  return typeof found === 'string' && PLAIN.test(found) && !found.startsWith('-') ? found : undefined
}
