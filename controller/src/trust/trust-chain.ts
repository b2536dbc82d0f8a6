/** Every trust file there was, in order: an agent that was away follows them one by one. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { type Envelope, parseEnvelope } from '@firebreak/shared/trust/dsse.ts'
import type { SigningKey } from '@firebreak/shared/trust/ed25519.ts'
import {
  followTrustFile,
  openTrustFile,
  rootHashOf,
  sealTrustFile,
  type Trust,
  type TrustFile,
} from '@firebreak/shared/trust/trust-file.ts'
import { writePublic } from './key-files.ts'

/** As many as one challenge may carry. */
const MAX_UPDATES = 32

export class TrustChain {
  readonly #dir: string
  readonly #versions: Trust[]

  private constructor(dir: string, versions: Trust[]) {
    this.#dir = dir
    this.#versions = versions
  }

  /** `undefined` when there is none yet. */
  static read(dir: string): TrustChain | undefined {
    const versions: Trust[] = []
    for (let version = 1; existsSync(pathOf(dir, version)); version++) {
      const envelope = readEnvelopeFile(pathOf(dir, version))
      const last = versions.at(-1)
      const opened = last ? followTrustFile(last, envelope) : openTrustFile(envelope, rootHashIn(envelope))
      if (!opened.ok)
        throw new Fault('trust_damaged', `${pathOf(dir, version)} does not hold: ${opened.code}, ${opened.why}`)
      versions.push(opened.value)
    }
    return versions.length === 0 ? undefined : new TrustChain(dir, versions)
  }

  static start(dir: string, file: TrustFile, root: SigningKey): TrustChain {
    const envelope = sealTrustFile(file, [root])
    const opened = openTrustFile(envelope, rootHashOf(file.root))
    if (!opened.ok) throw new Fault('trust_unsound', `the first trust file does not hold: ${opened.why}`)
    writePublic(pathOf(dir, 1), JSON.stringify(envelope))
    return new TrustChain(dir, [opened.value])
  }

  current(): Trust {
    const last = this.#versions.at(-1)
    if (!last) throw new Fault('trust_unsound', 'there is no trust file')
    return last
  }

  /** What an agent that knows `version` has not seen, oldest first. */
  after(version: number): readonly Envelope[] {
    return this.#versions.slice(Math.max(0, version), Math.max(0, version) + MAX_UPDATES).map((trust) => trust.envelope)
  }

  extend(file: TrustFile, root: SigningKey): void {
    const envelope = sealTrustFile(file, [root])
    const followed = followTrustFile(this.current(), envelope)
    if (!followed.ok) throw new Fault('trust_unsound', `the next trust file does not hold: ${followed.why}`)
    writePublic(pathOf(this.#dir, file.version), JSON.stringify(envelope))
    this.#versions.push(followed.value)
  }
}

function pathOf(dir: string, version: number): string {
  return join(dir, `${version}.json`)
}

function readEnvelopeFile(path: string): Envelope {
  const parsed = parseEnvelope(readFileSync(path))
  if (!parsed.ok) throw new Fault('trust_damaged', `${path}: ${parsed.why}`)
  return parsed.value
}

/** The controller's own first file is believed because it is the controller's own; agents pin its hash in the join string. */
function rootHashIn(envelope: Envelope): Uint8Array {
  const { root } = JSON.parse(Buffer.from(envelope.payload, 'base64').toString('utf8')) as TrustFile
  return rootHashOf(root)
}
