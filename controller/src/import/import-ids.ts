/** Names that follow from a recording alone: the same file gives the same hosts, streams and numbers, whenever and wherever it is taken in. */
import { createHash } from 'node:crypto'
import { type AgentId, agentIdOf } from '@firebreak/shared/ids.ts'

/**
 * An imported host is its name. The text that is hashed in the place of a key is none, so no agent can have this id. Case does not
 * make another host.
 */
export function importedAgentId(hostname: string): AgentId {
  return agentIdOf(Buffer.from(`firebreak imported host v1\0${hostname.toLowerCase()}`))
}

/** What stands where the key of an agent would be: never base64 of 32 bytes, so nothing verifies against it. */
export function importedKey(agentId: AgentId): string {
  return `imported:${agentId}`
}

/** RFC 9562 version 8: an epoch of a spool that this controller plays for a host of a recording. */
export function importEpoch(fileSha256: string, host: string, agentId: AgentId, attempt: number): string {
  const digest = createHash('sha256')
    .update(`firebreak import v1\0${fileSha256}\0${host}\0${agentId}\0${attempt}`)
    .digest()
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x80
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80
  const hex = digest.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}
