/** The trust file as this host believes it, and where the host joined. On disk, flushed, before it is used. */
import { join } from 'node:path'
import { type Static, Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { AGENT_ID_PATTERN, UUID_PATTERN } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { type Envelope, readEnvelope } from '@firebreak/shared/trust/dsse.ts'
import { followTrustFile, openTrustFile, type Trust, type TrustRefusal } from '@firebreak/shared/trust/trust-file.ts'
import { parseStrictJson } from '@firebreak/shared/wire/strict-json.ts'
import { readIfThere, writeAtomic } from '../disk/atomic-file.ts'

const Enrolment = Type.Object(
  {
    agent_id: Type.String({ pattern: AGENT_ID_PATTERN }),
    deployment_id: Type.String({ pattern: UUID_PATTERN }),
    controller: Type.String({ maxLength: 512, description: 'URL of the controller that let the host in.' }),
    enrolled_at: Type.String({ maxLength: 40 }),
  },
  { additionalProperties: false },
)
export type Enrolment = Static<typeof Enrolment>
const enrolmentSchema = Compile(Enrolment)

export type TrustStoreRefusal = 'not_enrolled' | 'bad_state'

export interface TrustStore {
  readonly enrolment: Enrolment
  current(): Trust
  /** Takes the next version: checked, written, flushed, then used. */
  follow(envelope: Envelope): Result<Trust, TrustRefusal>
}

export const TRUST_FILE = 'trust.json'
export const ENROLMENT_FILE = 'enrolment.json'

export function openTrustStore(stateDir: string): Result<TrustStore, TrustStoreRefusal> {
  const enrolment = readEnrolment(stateDir)
  if (!enrolment.ok) return enrolment
  const path = join(stateDir, TRUST_FILE)
  const kept = readKept(path)
  if (!kept) return refuse('bad_state', `${path} is missing or damaged; join the host again`)
  const trust = openTrustFile(kept.envelope, kept.rootHash)
  if (!trust.ok) return refuse('bad_state', `${path}: ${trust.why}; join the host again`)
  return ok(new DiskTrustStore(stateDir, enrolment.value, trust.value))
}

/** Remembers a first trust: the trust file first, since without it the enrolment means nothing. */
export function saveFirstTrust(stateDir: string, enrolment: Enrolment, trust: Trust): void {
  keep(join(stateDir, TRUST_FILE), trust)
  writeAtomic(join(stateDir, ENROLMENT_FILE), `${JSON.stringify(enrolment, undefined, 2)}\n`)
}

export function isEnrolled(stateDir: string): boolean {
  return readIfThere(join(stateDir, ENROLMENT_FILE)) !== undefined
}

class DiskTrustStore implements TrustStore {
  readonly enrolment: Enrolment
  readonly #stateDir: string
  #trust: Trust

  constructor(stateDir: string, enrolment: Enrolment, trust: Trust) {
    this.#stateDir = stateDir
    this.enrolment = enrolment
    this.#trust = trust
  }

  current(): Trust {
    return this.#trust
  }

  follow(envelope: Envelope): Result<Trust, TrustRefusal> {
    const next = followTrustFile(this.#trust, envelope)
    if (!next.ok) return next
    keep(join(this.#stateDir, TRUST_FILE), next.value)
    this.#trust = next.value
    return next
  }
}

/** The root set may be rotated after the host joined, so what is pinned is kept beside what it pins: one file, whole or not there. */
function keep(path: string, trust: Trust): void {
  writeAtomic(path, JSON.stringify({ root_hash: encodeBase64(trust.rootHash), envelope: trust.envelope }))
}

function readKept(path: string): { readonly rootHash: Uint8Array; readonly envelope: Envelope } | undefined {
  const text = readIfThere(path)
  const parsed = text && parseStrictJson(text)
  if (!parsed?.ok || typeof parsed.value !== 'object' || parsed.value === null) return undefined
  const { root_hash: hash, envelope } = parsed.value as { root_hash?: unknown; envelope?: unknown }
  const rootHash = typeof hash === 'string' ? decodeBase64(hash) : undefined
  const read = readEnvelope(envelope)
  return rootHash && read.ok ? { rootHash, envelope: read.value } : undefined
}

function readEnrolment(stateDir: string): Result<Enrolment, TrustStoreRefusal> {
  const path = join(stateDir, ENROLMENT_FILE)
  const text = readIfThere(path)
  if (!text) return refuse('not_enrolled', 'this host has not joined; run firebreak-agent enroll')
  const parsed = parseStrictJson(text)
  if (!parsed.ok || !enrolmentSchema.Check(parsed.value))
    return refuse('bad_state', `${path} is damaged; join the host again`)
  return ok(parsed.value)
}
