import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { FIELD_LIMITS } from '@firebreak/shared/events/event.ts'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import { textOfBytes } from './escaped-bytes.ts'

/** Kept in memory of one command line; enough for the longest field in 4-byte characters. */
const KEEP_BYTES = 4 * FIELD_LIMITS.text
/** A program can point the kernel at any part of its memory as its arguments (PR_SET_MM, prctl(2)): there the reading ends. */
export const MAX_READ_BYTES = 16 * MiB
const CHUNK_BYTES = 64 * KiB
const NUL = 0
const SPACE = 0x20

/** One cut field, as `firebreak.truncated` wants it. */
export interface Cut {
  readonly bytes: number
  readonly sha256: string
}

export interface CommandLine {
  /** Arguments joined by a space, within the limit of a text field. */
  readonly text: string
  readonly args: readonly string[]
  readonly argsCount: number
  /** Set where `text` is shorter than what was there: whole length and SHA-256 of the bytes, NUL written as a space. */
  readonly textCut: Cut | undefined
  /** The same of `args`, NUL left as it is. */
  readonly argsCut: Cut | undefined
}

const NONE: CommandLine = { text: '', args: [], argsCount: 0, textCut: undefined, argsCut: undefined }

/** Reads proc_pid_cmdline(5) of any length in bounded memory. Throws what the file system throws. */
export function readCommandLine(path: string): CommandLine {
  const fd = openSync(path, 'r')
  try {
    return readFrom(fd)
  } finally {
    closeSync(fd)
  }
}

function readFrom(fd: number): CommandLine {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  const first = readSync(fd, chunk)
  if (first === 0) return NONE
  if (first < CHUNK_BYTES) {
    const second = readSync(fd, chunk, first, CHUNK_BYTES - first, null)
    if (second === 0) return commandLineOf(chunk.subarray(0, first))
    return readLong(fd, [Buffer.from(chunk.subarray(0, first + second))], first + second)
  }
  return readLong(fd, [Buffer.from(chunk)], first)
}

/** Goes on in chunks: keeps the start, counts and digests the rest. */
function readLong(fd: number, kept: Buffer[], alreadyRead: number): CommandLine {
  const whole = new WholeDigest()
  for (const piece of kept) whole.add(piece)
  let read = alreadyRead
  while (read < MAX_READ_BYTES) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    const length = readSync(fd, chunk)
    if (length === 0) break
    const piece = chunk.subarray(0, length)
    if (read < KEEP_BYTES) kept.push(piece)
    whole.add(piece)
    read += length
  }
  const start = Buffer.concat(kept)
  if (read === start.length) return commandLineOf(start)
  const { bytes, argsCount, nulSha256, spaceSha256 } = whole.end()
  const parts = splitAtNul(start)
  return {
    text: textOfBytes(withSpaces(start)).slice(0, FIELD_LIMITS.text).toWellFormed(),
    args: withinLimits(parts.map(textOfBytes)),
    argsCount,
    textCut: { bytes, sha256: spaceSha256 },
    argsCut: { bytes, sha256: nulSha256 },
  }
}

/** From all the bytes, the last NUL included. */
export function commandLineOf(bytes: Buffer): CommandLine {
  if (bytes.length === 0) return NONE
  const body = withoutPadding(bytes)
  const all = splitAtNul(body).map(textOfBytes)
  const text = all.join(' ')
  const args = withinLimits(all)
  const argsWhole = args.length === all.length && args.every((arg, at) => arg === all[at])
  return {
    text: text.length > FIELD_LIMITS.text ? text.slice(0, FIELD_LIMITS.text).toWellFormed() : text,
    args,
    argsCount: all.length,
    textCut: text.length > FIELD_LIMITS.text ? cutOf(withSpaces(body)) : undefined,
    argsCut: argsWhole ? undefined : cutOf(body),
  }
}

/** A program that writes its own title over its arguments leaves NULs behind it: one argument, not hundreds of empty ones. */
function withoutPadding(bytes: Buffer): Buffer {
  const firstNul = bytes.indexOf(NUL)
  if (firstNul < 0) return bytes
  let end = bytes.length
  while (end > firstNul && bytes[end - 1] === NUL) end -= 1
  return end === firstNul ? bytes.subarray(0, firstNul) : bytes.subarray(0, bytes.at(-1) === NUL ? -1 : undefined)
}

function splitAtNul(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  let from = 0
  for (let at = bytes.indexOf(NUL); at >= 0; at = bytes.indexOf(NUL, from)) {
    parts.push(bytes.subarray(from, at))
    from = at + 1
  }
  parts.push(bytes.subarray(from))
  return parts
}

/** As many arguments as a list may have and, together, as much text as a field may have. */
function withinLimits(args: readonly string[]): string[] {
  const kept: string[] = []
  let room: number = FIELD_LIMITS.text
  for (const arg of args.slice(0, FIELD_LIMITS.list)) {
    if (arg.length > room) {
      if (room > 0) kept.push(arg.slice(0, room).toWellFormed())
      break
    }
    kept.push(arg)
    room -= arg.length
  }
  return kept
}

function withSpaces(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  for (let at = copy.indexOf(NUL); at >= 0; at = copy.indexOf(NUL, at)) copy[at] = SPACE
  return copy
}

function cutOf(bytes: Buffer): Cut {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** Length, count and both digests of a command line that is read in pieces; the last NUL ends the last argument and is no part of it. */
class WholeDigest {
  readonly #nul = createHash('sha256')
  readonly #space = createHash('sha256')
  #bytes = 0
  #separators = 0
  #heldNul = false

  add(piece: Buffer): void {
    if (piece.length === 0) return
    if (this.#heldNul) this.#take(Buffer.of(NUL))
    this.#heldNul = piece.at(-1) === NUL
    this.#take(this.#heldNul ? piece.subarray(0, -1) : piece)
  }

  end(): { bytes: number; argsCount: number; nulSha256: string; spaceSha256: string } {
    return {
      bytes: this.#bytes,
      argsCount: this.#separators + 1,
      nulSha256: this.#nul.digest('hex'),
      spaceSha256: this.#space.digest('hex'),
    }
  }

  #take(piece: Buffer): void {
    this.#bytes += piece.length
    for (let at = piece.indexOf(NUL); at >= 0; at = piece.indexOf(NUL, at + 1)) this.#separators += 1
    this.#nul.update(piece)
    this.#space.update(withSpaces(piece))
  }
}
