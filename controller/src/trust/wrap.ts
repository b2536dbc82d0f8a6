/** Secrets that have to lie in the database lie there sealed: AES-256-GCM (NIST SP 800-38D) under a key that is not in the database. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { Fault } from '@firebreak/shared/result.ts'

const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16

export interface Wrap {
  /** `context` names what it is and whose (such as `join_token:<id>`); another context does not open it, so a row cannot be moved. */
  seal(secret: Uint8Array, context: string): string
  open(sealed: string, context: string): Uint8Array
}

export function createWrap(key: Uint8Array): Wrap {
  if (key.length !== 32) throw new Fault('bad_key', 'the wrapping key has 32 bytes')
  return {
    seal(secret, context) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      cipher.setAAD(Buffer.from(context))
      const body = Buffer.concat([cipher.update(secret), cipher.final()])
      return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()]).toString('base64')
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed, 'base64')
      if (bytes[0] !== VERSION || bytes.length < 1 + NONCE_BYTES + TAG_BYTES)
        throw new Fault('secret_unreadable', 'not a sealed secret')
      const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(context))
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES)), decipher.final()])
      } catch (cause) {
        throw new Fault('secret_unreadable', 'a sealed secret does not open: it was changed, or the wrapping key was', {
          cause,
        })
      }
    },
  }
}
