/** The one-time code that frees a host locally when no controller reaches it: 100 bits, easy to read out over the telephone. */
import { createHash, randomInt } from 'node:crypto'

/** RFC 4648 base32 has no 0, 1, 8 and 9, which are taken for letters. */
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const GROUPS = 4
const GROUP_LENGTH = 5

/** Such as `k3vqz-7xw2a-m4tdu-pl5ne`; the hyphens belong to it. */
export function newReleaseCode(): string {
  return Array.from({ length: GROUPS }, () =>
    Array.from({ length: GROUP_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join(''),
  ).join('-')
}

export function releaseCodeDigest(code: string): string {
  return createHash('sha256').update(code).digest('hex')
}

export function releaseCodeContext(commandId: string): string {
  return `release_code:${commandId}`
}
