import { createHash } from 'node:crypto'
import type { RunId } from '@firebreak/shared/ids.ts'

/** A UUID made of what it names (RFC 9562, version 8): there can be no second run for the same three. */
export function runIdOf(playbookId: string, incidentId: string, agentId: string): RunId {
  const hex = createHash('sha256')
    .update(JSON.stringify(['run', playbookId, incidentId, agentId]))
    .digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}` as RunId
}
