/** The certificate of the gateway: self-signed, because agents pin its public key in the signed trust file and ask no authority. */
import { createHash, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { readFileSync } from 'node:fs'
import { readSecret, writePublic, writeSecret } from './key-files.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'

const LIFE_MS = 20 * 365 * 86_400_000

export interface TlsIdentity {
  /** PEM. */
  readonly key: string
  readonly cert: string
  /** SHA-256 of the SubjectPublicKeyInfo, base64 (RFC 7469, 2.4). */
  readonly spkiSha256: string
}

export async function openTlsIdentity(keysDir: string, stateDir: string, nowMs: number): Promise<TlsIdentity> {
  const keyPath = join(keysDir, 'tls.key')
  const certPath = join(stateDir, 'tls.crt')
  const key = readSecret(keyPath)?.toString('utf8')
  if (key !== undefined) return identityOf(key, readCertificate(certPath))
  // Loaded for the one start that makes it: it is slow to load, and every start would wait for it.
  const { generate } = await import('selfsigned')
  const made = await generate([{ name: 'commonName', value: 'firebreak-controller' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(nowMs - 86_400_000),
    notAfterDate: new Date(nowMs + LIFE_MS),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'firebreak-controller' }] },
    ],
  })
  // The key last: it is what says that there is an identity.
  writePublic(certPath, `${made.cert.trim()}\n`)
  writeSecret(keyPath, `${made.private.trim()}\n`)
  return identityOf(made.private, made.cert)
}

function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Fault('certificate_missing', `${path} belongs to keys/tls.key and cannot be read: ${reasonOf(cause)}`, {
      cause,
    })
  }
}

function identityOf(key: string, cert: string): TlsIdentity {
  const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })
  return { key, cert, spkiSha256: createHash('sha256').update(spki).digest('base64') }
}
