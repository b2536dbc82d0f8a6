/**
 * Records in an append-only file: `FB`, kind (u8), zero, length of the payload (u32), number (u64), CRC-32 of all that and of the
 * payload, payload. Big endian. A cut or changed record is seen, and the sound ones after it are found again.
 */
import { crc32 } from 'node:zlib'

export const RECORD_HEADER_BYTES = 20
const MAGIC = 0x4642
const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024

export interface DiskRecord {
  readonly kind: number
  readonly number: number
  readonly payload: Uint8Array
}

export interface PlacedRecord extends DiskRecord {
  readonly start: number
  readonly end: number
  /** CRC-32 of all that comes before the payload, and of the payload. */
  readonly crc: number
}

/** A stretch of a file that holds no sound record. `torn`: it reaches to the end of the file. */
export interface Damage {
  readonly start: number
  readonly end: number
  readonly torn: boolean
}

export function encodeRecord(record: DiskRecord): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_HEADER_BYTES + record.payload.length)
  bytes.set(record.payload, RECORD_HEADER_BYTES)
  encodeHeader(bytes, 0, record)
  return bytes
}

/** The same where the payload lies in `file` already, `RECORD_HEADER_BYTES` behind `at`: writes its header. Returns its checksum. */
export function encodeHeader(file: Buffer, at: number, record: DiskRecord): number {
  file.writeUInt16BE(MAGIC, at)
  file[at + 2] = record.kind
  file[at + 3] = 0
  file.writeUInt32BE(record.payload.length, at + 4)
  // No BigInt: a number is at most 2^53.
  file.writeUInt32BE(Math.floor(record.number / 2 ** 32), at + 8)
  file.writeUInt32BE(record.number >>> 0, at + 12)
  const crc = crc32(record.payload, crc32(file.subarray(at, at + 16)))
  file.writeUInt32BE(crc, at + 16)
  return crc
}

/** Its checksum, as `encodeRecord` put it there. */
export function crcOf(record: Buffer): number {
  return record.readUInt32BE(16)
}

/** The record that starts at `start`, or `undefined` when no whole and sound one does. Its payload is a view. */
export function recordAt(file: Buffer, start: number): PlacedRecord | undefined {
  const payloadAt = start + RECORD_HEADER_BYTES
  if (payloadAt > file.length || file.readUInt16BE(start) !== MAGIC || file[start + 3] !== 0) return undefined
  const length = file.readUInt32BE(start + 4)
  const end = payloadAt + length
  if (length > MAX_PAYLOAD_BYTES || end > file.length) return undefined
  const payload = file.subarray(payloadAt, end)
  const crc = file.readUInt32BE(start + 16)
  if (crc32(payload, crc32(file.subarray(start, start + 16))) !== crc) return undefined
  const number = file.readBigUInt64BE(start + 8)
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
  return { kind: file[start + 2] ?? 0, number: Number(number), payload, start, end, crc }
}

/** How many bytes the record that starts at `start` needs, as far as its header can be seen. */
export function recordBytesAt(file: Buffer, start: number): number | undefined {
  return start + 8 > file.length ? undefined : RECORD_HEADER_BYTES + file.readUInt32BE(start + 4)
}

/** Every sound record of a file in order, and every stretch between them that is not. */
export function readRecords(file: Buffer): {
  readonly records: readonly PlacedRecord[]
  readonly damage: readonly Damage[]
} {
  const records: PlacedRecord[] = []
  const damage: Damage[] = []
  for (let at = 0; at < file.length; ) {
    const record = recordAt(file, at)
    if (record) {
      records.push(record)
      at = record.end
      continue
    }
    const next = nextSound(file, at + 1)
    damage.push({ start: at, end: next ?? file.length, torn: next === undefined })
    at = next ?? file.length
  }
  return { records, damage }
}

function nextSound(file: Buffer, from: number): number | undefined {
  const magic = Buffer.from('FB')
  for (let at = file.indexOf(magic, from); at !== -1; at = file.indexOf(magic, at + 1))
    if (recordAt(file, at)) return at
  return undefined
}
