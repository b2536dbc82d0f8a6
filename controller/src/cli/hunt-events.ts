/** Recorded events as lines: plain, gzip or zstd (told by the first bytes, not by the name), never the whole file in memory. */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline, type Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import type { EventLine } from './hunt-run.ts'

export const EVENT_LINE_LIMIT_BYTES = 16 * 1_048_576
const CHUNK_BYTES = 262_144

/** Batches of lines, one for each block read. Throws when the file cannot be read or its compression is broken. */
export async function* eventLines(path: string, limit = EVENT_LINE_LIMIT_BYTES): AsyncGenerator<readonly EventLine[]> {
  const stream = await openDecoded(path)
  const splitter = new LineSplitter(limit)
  for await (const chunk of stream) yield splitter.push(chunk as Buffer)
  yield splitter.end()
}

export async function openDecoded(path: string): Promise<Readable> {
  if (path === '-') return process.stdin
  const magic = await firstBytes(path)
  const raw = createReadStream(path, { highWaterMark: CHUNK_BYTES })
  const decoder =
    magic[0] === 0x1f && magic[1] === 0x8b
      ? createGunzip({ chunkSize: CHUNK_BYTES })
      : magic.readUInt32LE(0) === 0xfd2f_b528
        ? createZstdDecompress({ chunkSize: CHUNK_BYTES })
        : null
  if (decoder === null) return raw
  // The reader of the decoder sees every error: pipeline destroys it with the reason.
  return pipeline(raw, decoder, () => {})
}

async function firstBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const bytes = Buffer.alloc(4)
    await file.read(bytes, 0, 4, 0)
    return bytes
  } finally {
    await file.close()
  }
}

/** Cuts text into lines; a line past the limit is counted and thrown away as it streams by. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8')
  readonly #limit: number
  #rest = ''
  /** Length of a line that is being skipped; 0: none is. */
  #skipped = 0
  #first = true

  constructor(limit: number) {
    this.#limit = limit
  }

  push(chunk: Buffer): EventLine[] {
    return this.#split(this.#decoder.write(chunk))
  }

  end(): EventLine[] {
    const lines = this.#split(this.#decoder.end())
    if (this.#skipped > 0) lines.push({ kind: 'long', bytes: this.#skipped })
    else if (this.#rest !== '') lines.push({ kind: 'text', text: this.#rest })
    this.#rest = ''
    this.#skipped = 0
    return lines
  }

  #split(text: string): EventLine[] {
    const lines: EventLine[] = []
    let from = 0
    if (this.#first && text !== '') {
      this.#first = false
      // A byte order mark at the beginning of the file is not part of its first line.
      if (text.charCodeAt(0) === 0xfe_ff) from = 1
    }
    for (let at = text.indexOf('\n', from); at >= 0; at = text.indexOf('\n', from)) {
      if (this.#skipped > 0) {
        lines.push({ kind: 'long', bytes: this.#skipped + at - from })
        this.#skipped = 0
      } else {
        const line = this.#rest + text.slice(from, at)
        this.#rest = ''
        lines.push(line.length > this.#limit ? { kind: 'long', bytes: line.length } : { kind: 'text', text: line })
      }
      from = at + 1
    }
    if (this.#skipped > 0) this.#skipped += text.length - from
    else {
      this.#rest += text.slice(from)
      if (this.#rest.length > this.#limit) {
        this.#skipped = this.#rest.length
        this.#rest = ''
      }
    }
    return lines
  }
}
