/** A line of authorized_keys or of a .pub file. Sources: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709. */
import { createHash } from 'node:crypto'

export interface PublicKey {
  /** As `ssh-keygen -l` prints it. */
  readonly fingerprint: string
  readonly type: string
  readonly bits: number | undefined
  readonly comment: string
  /** What stands before the key, such as `from="10.0.0.0/8",no-pty`. */
  readonly options: string
}

const TYPE =
  /^(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com|ssh-(?:rsa|dss|ed25519)-cert-v01@openssh\.com|ecdsa-sha2-nistp(?:256|384|521)-cert-v01@openssh\.com|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)-cert-v01@openssh\.com)$/

/** Undefined when the line holds no key. */
export function parsePublicKey(line: string): PublicKey | undefined {
  const text = line.trim()
  const first = wordEnd(text, 0)
  const withoutOptions = TYPE.test(text.slice(0, first))
  const typeAt = withoutOptions ? 0 : skipSpace(text, first)
  const typeEnd = wordEnd(text, typeAt)
  const type = text.slice(typeAt, typeEnd)
  if (!TYPE.test(type)) return undefined
  const keyAt = skipSpace(text, typeEnd)
  const keyEnd = wordEnd(text, keyAt)
  const encoded = text.slice(keyAt, keyEnd)
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined
  const blob = Buffer.from(encoded, 'base64')
  // The key says its own type: a line whose two words differ is no key to sshd either.
  if (textAt(blob, 0)?.toString('latin1') !== type) return undefined
  return {
    fingerprint: `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`,
    type,
    bits: bitsOf(type, blob),
    comment: text.slice(skipSpace(text, keyEnd)),
    options: withoutOptions ? '' : text.slice(0, first),
  }
}

/** A string of RFC 4251, 5: its length in 4 bytes, then its bytes. */
function textAt(blob: Buffer, at: number): Buffer | undefined {
  if (at + 4 > blob.length) return undefined
  const end = at + 4 + blob.readUInt32BE(at)
  return end <= blob.length ? blob.subarray(at + 4, end) : undefined
}

function bitsOf(type: string, blob: Buffer): number | undefined {
  const curve = /nistp(256|384|521)/.exec(type)?.[1]
  if (curve !== undefined) return Number(curve)
  if (type.includes('ed25519')) return 256
  const name = textAt(blob, 0)
  if (!name || type.includes('cert')) return undefined
  const exponentAt = 4 + name.length
  const exponent = textAt(blob, exponentAt)
  if (!exponent) return undefined
  // RSA: e, n; DSA: p first.
  const modulus = type === 'ssh-dss' ? exponent : textAt(blob, exponentAt + 4 + exponent.length)
  return modulus === undefined ? undefined : bitLength(modulus)
}

function bitLength(number: Buffer): number {
  const from = number.findIndex((byte) => byte !== 0)
  return from < 0 ? 0 : (number.length - from) * 8 - Math.clz32(number[from] ?? 0) + 24
}

/** Past the word that begins here; a space within quotes ends none. */
function wordEnd(text: string, from: number): number {
  let isQuoted = false
  for (let at = from; at < text.length; at++) {
    const letter = text[at]
    if (letter === '\\') at += 1
    else if (letter === '"') isQuoted = !isQuoted
    else if (!isQuoted && (letter === ' ' || letter === '\t')) return at
  }
  return text.length
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (text[at] === ' ' || text[at] === '\t') at += 1
  return at
}
