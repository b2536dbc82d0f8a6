/**
 * Recordings as files: plain, gzip or zstd, or a tar of them (told by the content). A member of a tar, and standard input, is written to
 * a file of its own first: a recording is read twice, once for its digest and once to send it.
 */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pipeline as pipelineOf, Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as WebStream } from 'node:stream/web'
import { RECORDING_LIMITS, type RecordingLine } from '@firebreak/shared/recordings/recording.ts'
import { createTarDecoder } from 'modern-tar'
import { LineSplitter, openDecoded } from './hunt-events.ts'

const GiB = 1_073_741_824
export const RECORDING_FILE_LIMITS = { members: 100_000, unpackedBytes: 64 * GiB } as const
const TAR_MAGIC_AT = 257

export interface RecordingFile {
  /** As a person would call it; a member of a tar stands after its name. */
  readonly name: string
  /** Of the decompressed content, hexadecimal. */
  digest(): Promise<string>
  /** Batches of lines, in order. Throws when it cannot be read or its compression is broken. */
  lines(): AsyncGenerator<readonly RecordingLine[]>
}

/** One, or each member of a tar. A file that was made for it is gone when the next one is asked for. */
export async function* recordingsIn(path: string): AsyncGenerator<RecordingFile> {
  if (path !== '-') {
    if (await isTar(path)) yield* members(path)
    else yield fileAt(path, basename(path))
    return
  }
  const folder = await mkdtemp(join(tmpdir(), 'firebreak-import-'))
  try {
    const copy = join(folder, 'stdin')
    await pipeline(process.stdin, byteLimit(), createWriteStream(copy, { mode: 0o600 }))
    if (await isTar(copy)) yield* members(copy)
    else yield fileAt(copy, 'stdin')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function fileAt(path: string, name: string): RecordingFile {
  return {
    name,
    async digest() {
      const hash = createHash('sha256')
      for await (const chunk of await openDecoded(path)) hash.update(chunk as Buffer)
      return hash.digest('hex')
    },
    async *lines() {
      const splitter = new LineSplitter(RECORDING_LIMITS.line)
      for await (const chunk of await openDecoded(path)) yield splitter.push(chunk as Buffer).map(lineOf)
      yield splitter.end().map(lineOf)
    },
  }
}

function lineOf(line: ReturnType<LineSplitter['end']>[number]): RecordingLine {
  return line.kind === 'text' ? line.text : { bytes: line.bytes }
}

async function isTar(path: string): Promise<boolean> {
  const stream = await openDecoded(path)
  const head: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    head.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes >= TAR_MAGIC_AT + 5) break
  }
  stream.destroy()
  return Buffer.concat(head).toString('latin1', TAR_MAGIC_AT, TAR_MAGIC_AT + 5) === 'ustar'
}

async function* members(path: string): AsyncGenerator<RecordingFile> {
  const folder = await mkdtemp(join(tmpdir(), 'firebreak-import-'))
  const limit = byteLimit()
  try {
    // The reader of the decoder sees every error: the pipeline destroys it with the reason.
    const raw = pipelineOf(await openDecoded(path), limit, () => {})
    const entries = (Readable.toWeb(raw) as WebStream<Uint8Array>).pipeThrough(createTarDecoder())
    let count = 0
    for await (const entry of entries as unknown as AsyncIterable<TarEntry>) {
      if (entry.header.type !== 'file' || entry.header.size === 0) {
        await entry.body.cancel()
        continue
      }
      if (++count > RECORDING_FILE_LIMITS.members)
        throw new Error(`more than ${RECORDING_FILE_LIMITS.members} files in the archive`)
      // Never under the name that the archive gives it.
      const copy = join(folder, 'member')
      await pipeline(Readable.fromWeb(entry.body), createWriteStream(copy, { mode: 0o600 }))
      yield fileAt(copy, `${basename(path)}!${entry.header.name.replace(/^\.\//, '')}`)
      await rm(copy, { force: true })
    }
  } finally {
    limit.destroy()
    await rm(folder, { recursive: true, force: true })
  }
}

interface TarEntry {
  readonly header: { readonly name: string; readonly type?: string; readonly size: number }
  readonly body: WebStream<Uint8Array>
}

function byteLimit(): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > RECORDING_FILE_LIMITS.unpackedBytes)
        done(new Error(`it unpacks to more than ${RECORDING_FILE_LIMITS.unpackedBytes} bytes`))
      else done(null, chunk)
    },
  })
}
