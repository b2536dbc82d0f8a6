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
  /** Undefined when its end was never seen. */
  readonly sha256?: string
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
  return {
    text: textOfBytes(withSpaces(start).spaced).slice(0, FIELD_LIMITS.text).toWellFormed(),
    args: withinLimits(firstArgs(start)),
    argsCount,
    textCut: { bytes, sha256: spaceSha256 },
    argsCut: { bytes, sha256: nulSha256 },
  }
}

/** From all the bytes, the last NUL included. */
export function commandLineOf(bytes: Buffer): CommandLine {
  if (bytes.length === 0) return NONE
  const body = withoutPadding(bytes)
  const short = body.length <= FIELD_LIMITS.keyword ? shortLineOf(body) : undefined
  if (short) return short
  const { spaced, nuls } = withSpaces(body)
  const text = textOfBytes(spaced)
  const first = firstArgs(body)
  const args = withinLimits(first)
  const argsWhole = nuls + 1 === args.length && args.at(-1) === first.at(-1)
  return {
    text: text.length > FIELD_LIMITS.text ? text.slice(0, FIELD_LIMITS.text).toWellFormed() : text,
    args,
    argsCount: nuls + 1,
    textCut: text.length > FIELD_LIMITS.text ? cutOfBytes(spaced) : undefined,
    argsCut: argsWhole ? undefined : cutOfBytes(body),
  }
}

/** In one piece, as nearly all are; undefined where something is no UTF-8 or there are more arguments than a list may have. */
function shortLineOf(body: Buffer): CommandLine | undefined {
  const text = body.toString('utf8')
  if (text.includes('\ufffd')) return undefined
  const args = text.split('\0')
  if (args.length > FIELD_LIMITS.list) return undefined
  return { text: args.join(' '), args, argsCount: args.length, textCut: undefined, argsCut: undefined }
}

/** A program that writes its own title over its arguments leaves NULs behind it: one argument, not hundreds of empty ones. */
function withoutPadding(bytes: Buffer): Buffer {
  const firstNul = bytes.indexOf(NUL)
  if (firstNul < 0) return bytes
  let end = bytes.length
  while (end > firstNul && bytes[end - 1] === NUL) end -= 1
  return end === firstNul ? bytes.subarray(0, firstNul) : bytes.subarray(0, bytes.at(-1) === NUL ? -1 : undefined)
}

/** Not more than a list may have: a megabyte of NULs is a million arguments. */
function firstArgs(bytes: Buffer): string[] {
  const args: string[] = []
  let from = 0
  while (args.length < FIELD_LIMITS.list) {
    const nul = bytes.indexOf(NUL, from)
    args.push(textOfBytes(nul < 0 ? bytes.subarray(from) : bytes.subarray(from, nul)))
    if (nul < 0) break
    from = nul + 1
  }
  return args
}

/** As many arguments as a list may have and, together, as much text as a field may have. */
function withinLimits(args: readonly string[]): string[] {
  const kept: string[] = []
  let room: number = FIELD_LIMITS.text
  for (const arg of args) {
    if (arg.length > room) {
      if (room > 0) kept.push(arg.slice(0, room).toWellFormed())
      break
    }
    kept.push(arg)
    room -= arg.length
  }
  return kept
}

function withSpaces(bytes: Buffer): { spaced: Buffer; nuls: number } {
  const spaced = Buffer.from(bytes)
  let nuls = 0
  // Byte by byte: a search for each NUL costs a hundred times more where there are many.
  for (let at = 0; at < spaced.length; at++) {
    if (spaced[at] !== NUL) continue
    spaced[at] = SPACE
    nuls += 1
  }
  return { spaced, nuls }
}

/** Length and digest of a value that is about to be cut. */
export function cutOfBytes(bytes: Buffer): Cut {
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
    const { spaced, nuls } = withSpaces(piece)
    this.#separators += nuls
    this.#nul.update(piece)
    this.#space.update(spaced)
  }
}
