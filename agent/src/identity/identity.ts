/** Who this host is: an Ed25519 key that was made here and never leaves. The agent id follows from it (design 4). */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type AgentId, agentIdOf } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { generateSeed, type SigningKey, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { makePrivateFolder, readIfThere, writeAtomic } from '../disk/atomic-file.ts'

export interface Identity {
  readonly agentId: AgentId
  readonly key: SigningKey
}

export type IdentityRefusal = 'no_key' | 'exposed_key' | 'bad_key'

export const KEY_FILE = 'agent.key'

/** Reads the key of this host. `exposed_key`: somebody but its owner may read the file, so it may be somebody else's too. */
export function readIdentity(stateDir: string): Result<Identity, IdentityRefusal> {
  const path = join(stateDir, KEY_FILE)
  const text = readIfThere(path)
  if (!text) return refuse('no_key', `there is no key in ${stateDir}; the host has not joined yet`)
  if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0)
    return refuse(
      'exposed_key',
      `${path} can be read by others than its owner; make it 0600 and join again if it was read`,
    )
  const seed = decodeBase64(text.toString('latin1').trim())
  if (seed?.length !== 32) return refuse('bad_key', `${path} does not hold a key`)
  const key = signingKeyOf(seed)
  return ok({ agentId: agentIdOf(key.publicKey), key })
}

/** The key of this host; makes it when there is none. */
export function ensureIdentity(stateDir: string): Result<Identity, IdentityRefusal> {
  const known = readIdentity(stateDir)
  if (known.ok || known.code !== 'no_key') return known
  makePrivateFolder(stateDir)
  writeAtomic(join(stateDir, KEY_FILE), `${encodeBase64(generateSeed())}\n`, 0o600)
  return readIdentity(stateDir)
}

/** Names the running boot; made anew by the kernel each time (random(4)). Elsewhere: derived from the start of the system. */
export function readBootId(): string {
  if (process.platform === 'linux') return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const bootedAt = Math.round((Date.now() - performance.now()) / 60_000)
  return createHash('sha256').update(`boot:${bootedAt}`).digest('hex').slice(0, 36)
}
