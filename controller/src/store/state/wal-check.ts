/**
 * Damage in SQLite's write-ahead log, which SQLite itself takes for the end of the log: it goes on as if every later commit had never
 * been. A crash can tear only what was not flushed yet, and that is the last transaction alone (sqlite-store.ts). So a frame that does not
 * have its checksum, with a commit behind it that has, was damaged after it had been made durable.
 * Source: sqlite.org/fileformat2.html, 4.1 (WAL file format) and 4.2 (checksum algorithm).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

const HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
const MAGIC = 0x37_7f_06_82

/** What is wrong with the log beside a database file, in words; `undefined` when nothing is, or there is none. */
export function walDamage(database: string): string | undefined {
  let file: number
  try {
    file = openSync(`${database}-wal`, 'r')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw thrown
  }
  try {
    return check(file, fstatSync(file).size)
  } finally {
    closeSync(file)
  }
}

function check(file: number, size: number): string | undefined {
  if (size < HEADER_BYTES) return undefined
  const header = read(file, 0, HEADER_BYTES)
  const magic = header.readUInt32BE(0)
  if ((magic & ~1) !== MAGIC) return 'its header is damaged'
  const bigEndian = (magic & 1) === 1
  const pageBytes = header.readUInt32BE(8) === 1 ? 65_536 : header.readUInt32BE(8)
  if (pageBytes < 512 || pageBytes > 65_536 || (pageBytes & (pageBytes - 1)) !== 0) return 'its header is damaged'
  const salt = header.subarray(16, 24)
  let sum: Sum = checksum(header.subarray(0, 24), [0, 0], bigEndian)
  if (!holds(sum, header, 24)) return 'its header is damaged'
  let bad: number | undefined
  for (let at = HEADER_BYTES; at + FRAME_HEADER_BYTES + pageBytes <= size; at += FRAME_HEADER_BYTES + pageBytes) {
    const frame = read(file, at, FRAME_HEADER_BYTES + pageBytes)
    // Frames of an earlier round of the log lie behind its end; one among those of this round is damaged.
    if (!frame.subarray(8, 16).equals(salt)) {
      bad ??= at
      sum = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
      continue
    }
    const own = checksum(frame.subarray(FRAME_HEADER_BYTES), checksum(frame.subarray(0, 8), sum, bigEndian), bigEndian)
    if (!holds(own, frame, 16)) bad ??= at
    else if (bad !== undefined && frame.readUInt32BE(4) !== 0)
      return `the frame at byte ${bad} is damaged, and commits follow it`
    // The next one builds on what this one says of itself, so that what follows a damaged page can still be told.
    sum = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
  }
  return undefined
}

type Sum = readonly [number, number]

function checksum(bytes: Buffer, [a, b]: Sum, bigEndian: boolean): Sum {
  let [first, second] = [a, b]
  for (let at = 0; at < bytes.length; at += 8) {
    first = (first + (bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)) + second) >>> 0
    second = (second + (bigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4)) + first) >>> 0
  }
  return [first, second]
}

function holds([first, second]: Sum, bytes: Buffer, at: number): boolean {
  return bytes.readUInt32BE(at) === first && bytes.readUInt32BE(at + 4) === second
}

function read(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  readSync(file, bytes, 0, length, at)
  return bytes
}
