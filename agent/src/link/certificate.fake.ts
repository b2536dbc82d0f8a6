import { createHash, generateKeyPairSync, sign } from 'node:crypto'

export interface FakeCertificate {
  /** PEM. */
  readonly key: string
  readonly cert: string
  /** SHA-256 of the SubjectPublicKeyInfo, base64. */
  readonly spki: string
}

/** A self-signed Ed25519 certificate (RFC 5280, 4.1; RFC 8410), good for ten years. */
export function makeCertificate(name = 'fake-controller'): FakeCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const algorithm = der(0x30, Buffer.from('06032b6570', 'hex'))
  const commonName = der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(name)))
  const names = der(0x30, der(0x31, commonName))
  const time = (ms: number) => der(0x18, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')))
  const validity = der(0x30, time(Date.now() - 86_400_000), time(Date.now() + 3_650 * 86_400_000))
  const version = der(0xa0, Buffer.from('020102', 'hex'))
  const body = der(0x30, version, der(0x02, Buffer.of(1)), algorithm, names, validity, names, spki)
  const whole = der(0x30, body, algorithm, der(0x03, Buffer.of(0), sign(null, body, privateKey)))
  const lines = whole
    .toString('base64')
    .replace(/(.{64})/g, '$1\n')
    .trimEnd()
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    spki: createHash('sha256').update(spki).digest('base64'),
  }
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), content])
}
