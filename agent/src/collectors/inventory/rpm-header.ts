/** A package header as rpm's data base keeps it. Source: rpm documentation, "RPM V4 header format"; lib/rpmtag.h for the numbers. */

const TAG = { name: 1000, version: 1001, release: 1002, epoch: 1003, architecture: 1022 } as const
const TYPE = { int32: 4, string: 6, i18nString: 9 } as const
const ENTRY_BYTES = 16
const MAX_ENTRIES = 65_536

export interface RpmHeader {
  readonly name: string
  /** epoch:version-release, the epoch left out when there is none. */
  readonly version: string
  readonly architecture: string | undefined
}

/** Undefined when the bytes are no header of a package. Two counts, the index, the data; all numbers big-endian. */
export function parseRpmHeader(bytes: Uint8Array): RpmHeader | undefined {
  const blob = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (blob.length < 8) return undefined
  const entries = blob.readUInt32BE(0)
  const dataAt = 8 + entries * ENTRY_BYTES
  if (entries > MAX_ENTRIES || dataAt + blob.readUInt32BE(4) > blob.length) return undefined
  const values = new Map<number, string | number>()
  for (let n = 0; n < entries; n++) {
    const at = 8 + n * ENTRY_BYTES
    const tag = blob.readUInt32BE(at)
    const start = dataAt + blob.readUInt32BE(at + 8)
    if (start >= blob.length) continue
    const type = blob.readUInt32BE(at + 4)
    if (type === TYPE.int32 && start + 4 <= blob.length) values.set(tag, blob.readUInt32BE(start))
    else if (type === TYPE.string || type === TYPE.i18nString) {
      const end = blob.indexOf(0, start)
      if (end >= 0) values.set(tag, blob.toString('utf8', start, end))
    }
  }
  const text = (tag: number) => {
    const value = values.get(tag)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const [name, version, release] = [text(TAG.name), text(TAG.version), text(TAG.release)]
  if (name === undefined || version === undefined || release === undefined) return undefined
  const epoch = values.get(TAG.epoch)
  return {
    name,
    version: `${typeof epoch === 'number' ? `${epoch}:` : ''}${version}-${release}`,
    architecture: text(TAG.architecture),
  }
}
