/**
 * The controller's own keys and the trust file that tells agents what they may do. Made at the first start; afterwards they must be
 * there: a controller that silently made new ones would be a stranger to its fleet.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { COMMAND_TYPES } from '@firebreak/shared/commands/catalogue.ts'
import { Fault } from '@firebreak/shared/result.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { publicKeyText, type Trust, type TrustFile } from '@firebreak/shared/trust/trust-file.ts'
import { readSecret, writeSecret } from './key-files.ts'
import { openTlsIdentity, type TlsIdentity } from './tls-identity.ts'
import { TrustChain } from './trust-chain.ts'
import { createWrap, type Wrap } from './wrap.ts'

export type { TlsIdentity } from './tls-identity.ts'

const TRUST_LIFE_MS = 365 * 86_400_000
const RENEW_BEFORE_MS = 90 * 86_400_000

export interface ControllerTrust {
  readonly deploymentId: string
  readonly commandKey: SigningKey
  readonly gatewayKey: SigningKey
  readonly auditKey: SigningKey
  readonly tls: TlsIdentity
  readonly wrap: Wrap
  trust(): Trust
  /** Trust files after this version, oldest first. */
  updatesAfter(version: number): readonly Envelope[]
  /** What the operator should know or do about keys, in words; told once at the start. */
  readonly advice: readonly string[]
}

export interface TrustOptions {
  readonly stateDir: string
  /** host:port as configured; empty: not configured. */
  readonly publicAddresses: readonly string[]
  /** Addresses of this machine, for a first start without configuration. */
  readonly ownAddresses: readonly string[]
  readonly nowMs: number
}

/** Faults: `key_missing`, `key_exposed`, `trust_damaged`, `root_key_absent`, `certificate_missing`. */
export async function openControllerTrust(options: TrustOptions): Promise<ControllerTrust> {
  const keysDir = join(options.stateDir, 'keys')
  const trustDir = join(options.stateDir, 'trust')
  const known = TrustChain.read(trustDir)
  const first = known === undefined
  // The trust file is written last of all, so whatever a broken first start left behind is taken up again.
  const rootKey = first ? signing(keysDir, 'root', true) : optionalSigning(keysDir, 'root')
  const commandKey = signing(keysDir, 'command', first)
  const gatewayKey = signing(keysDir, 'gateway', first)
  const auditKey = signing(keysDir, 'audit', first)
  const wrap = createWrap(secret(join(keysDir, 'wrapping.key'), first, () => randomBytes(32)))
  const tls = await openTlsIdentity(keysDir, options.stateDir, options.nowMs)
  const chain = known ?? TrustChain.start(trustDir, firstFile(), requireRoot(rootKey, 'make the first trust file'))
  const advice = keepCurrent(chain)
  const opened: ControllerTrust = {
    deploymentId: chain.current().file.deployment_id,
    commandKey,
    gatewayKey,
    auditKey,
    tls,
    wrap,
    trust: () => chain.current(),
    updatesAfter: (version) => chain.after(version),
    advice,
  }
  return opened

  function firstFile(): TrustFile {
    const root = requireRoot(rootKey, 'make the first trust file')
    const addresses = options.publicAddresses.length > 0 ? options.publicAddresses : options.ownAddresses
    return {
      v: 1,
      deployment_id: randomUUID(),
      version: 1,
      ...validity(options.nowMs),
      root: { threshold: 1, keys: [publicKeyText(root)] },
      keys: [
        { public_key: publicKeyText(gatewayKey), roles: ['gateway'], types: [] },
        { public_key: publicKeyText(commandKey), roles: ['command'], types: [...COMMAND_TYPES] },
        { public_key: publicKeyText(auditKey), roles: ['audit'], types: [] },
      ],
      revoked: [],
      dual_types: [],
      controllers: [...addresses],
      tls_spki_sha256: [tls.spkiSha256],
    }
  }

  /** Issues the next version when what it says is not true any more. */
  function keepCurrent(trustChain: TrustChain): string[] {
    const file = trustChain.current().file
    const changes = changesOf(file)
    const leftMs = Date.parse(file.expires_at) - options.nowMs
    const advice: string[] = []
    if (changes.length > 0 || (leftMs < RENEW_BEFORE_MS && rootKey)) {
      const root = requireRoot(rootKey, `tell the agents: ${changes.join(', ') || 'a new expiry'}`)
      trustChain.extend(nextFile(file), root)
      advice.push(`trust file ${file.version + 1} was issued: ${changes.join(', ') || 'a new expiry'}`)
    } else if (leftMs < RENEW_BEFORE_MS)
      advice.push(
        `the trust file expires on ${file.expires_at}, and then agents refuse commands: put the root key back at ${join(keysDir, 'root.seed')} and restart`,
      )
    if (rootKey)
      advice.push(
        `the root key lies at ${join(keysDir, 'root.seed')}: move it to a safe place off this machine; it is needed again only to change keys, certificates or addresses`,
      )
    return advice
  }

  function changesOf(file: TrustFile): string[] {
    const changes: string[] = []
    if (options.publicAddresses.length > 0 && !sameSet(options.publicAddresses, file.controllers))
      changes.push(`the controllers are now ${options.publicAddresses.join(', ')}`)
    if (!file.tls_spki_sha256.includes(tls.spkiSha256)) changes.push('the TLS certificate has another key')
    const named = new Set(file.keys.map((key) => key.public_key))
    for (const key of [gatewayKey, commandKey, auditKey])
      if (!named.has(publicKeyText(key))) changes.push(`key ${key.kid} is new`)
    const types = new Set(file.keys.flatMap((key) => key.types))
    if (COMMAND_TYPES.some((type) => !types.has(type))) changes.push('there are new command types')
    return changes
  }

  function nextFile(file: TrustFile): TrustFile {
    const own = new Set([gatewayKey, commandKey, auditKey].map(publicKeyText))
    return {
      ...file,
      version: file.version + 1,
      ...validity(options.nowMs),
      controllers: options.publicAddresses.length > 0 ? [...options.publicAddresses] : file.controllers,
      // The key before stays pinned: an agent must be able to connect to learn of the new one.
      tls_spki_sha256: [...new Set([tls.spkiSha256, ...file.tls_spki_sha256])].slice(0, 32),
      keys: [
        { public_key: publicKeyText(gatewayKey), roles: ['gateway'], types: [] },
        { public_key: publicKeyText(commandKey), roles: ['command'], types: [...COMMAND_TYPES] },
        { public_key: publicKeyText(auditKey), roles: ['audit'], types: [] },
        ...file.keys.filter((key) => !own.has(key.public_key)),
      ],
    }
  }

  function requireRoot(key: SigningKey | undefined, purpose: string): SigningKey {
    if (key) return key
    throw new Fault(
      'root_key_absent',
      `the root key is needed to ${purpose}: put it back at ${join(keysDir, 'root.seed')}, start once, and take it away again; or undo the change`,
    )
  }
}

function validity(nowMs: number): { issued_at: string; expires_at: string } {
  return { issued_at: new Date(nowMs).toISOString(), expires_at: new Date(nowMs + TRUST_LIFE_MS).toISOString() }
}

function signing(keysDir: string, name: string, mayMake: boolean): SigningKey {
  return signingKeyOf(secret(join(keysDir, `${name}.seed`), mayMake, generateSeed))
}

function optionalSigning(keysDir: string, name: string): SigningKey | undefined {
  const seed = readSecret(join(keysDir, `${name}.seed`))
  return seed ? signingKeyOf(decode(seed, name)) : undefined
}

/** 32 secret bytes in a file, base64. */
function secret(path: string, mayMake: boolean, make: () => Uint8Array): Uint8Array {
  const found = readSecret(path)
  if (found) return decode(found, path)
  if (!mayMake)
    throw new Fault(
      'key_missing',
      `${path} is gone: put it back from a backup; a new one would be a stranger to the agents`,
    )
  const made = make()
  writeSecret(path, `${Buffer.from(made).toString('base64')}\n`)
  return made
}

function decode(file: Buffer, name: string): Uint8Array {
  const bytes = Buffer.from(file.toString('utf8').trim(), 'base64')
  if (bytes.length !== 32) throw new Fault('bad_key', `${name} does not hold 32 bytes in base64`)
  return bytes
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const left = new Set(a)
  return left.size === new Set(b).size && b.every((item) => left.has(item))
}
