/**
 * Binary WebSocket messages. First byte: 1 = control message (JSON), 2 = the same in zstd, 3 = batch of events, 4 = command envelope.
 * A batch is `3, u32 header length, header (JSON), 64 bytes signature, body (zstd of NDJSON)`.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { createHash } from 'node:crypto'
import { EVENT_CLASSES } from '../events/classes.ts'
import { UUID_PATTERN } from '../ids.ts'
import { type Result, ok, reasonOf, refuse } from '../result.ts'
import { preAuthEncoding } from '../trust/dsse.ts'
import { WIRE } from './limits.ts'
import type { AgentMessage, ControllerMessage } from './messages.ts'
import { parseStrictJson } from './strict-json.ts'

const PLAIN = 1
const ZSTD = 2
const BATCH = 3
const COMMAND = 4
const COMPRESS_FROM_BYTES = 1_024
/** Below it the making of a compressor costs more than all else that is done for a batch. */
const COMPRESS_BATCH_FROM_BYTES = 4 * 1_024
const SIGNATURE_BYTES = 64
const BATCH_PAYLOAD_TYPE = 'application/vnd.firebreak.batch'

/** Why events with numbers of their own are not there. Closed; spools on disk hold places in this list, so words are only added at the end. */
export const GAP_REASONS = [
  'spool_full',
  'collector_overflow',
  'kernel_overflow',
  'too_large',
  'spool_damaged',
  'invalid',
  /** Older than the spool keeps events. */
  'spool_aged',
  /** Freed because the file system of the spool had become too full. */
  'disk_low',
  /** The disk did not take them. */
  'disk_failed',
  /** The numbers of an epoch could not be read any more; how many there were is not known. */
  'epoch_lost',
  /** Acked, and then not readable any more where the controller kept them. */
  'controller_damaged',
  /** Acked, and then forgotten: the controller was set back to a backup that is older than they are. */
  'controller_restored',
] as const
export type GapReason = (typeof GAP_REASONS)[number]

const Counter = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const TimeMs = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'ms since 1970, by the host.',
})
const Chain = Type.Integer({ minimum: 0, maximum: 0xffff_ffff })
/** Numbers that will never come, both ends included, and when what they stand for happened. */
export const Gap = Type.Object(
  {
    from: Counter,
    to: Counter,
    reason: Type.Enum([...GAP_REASONS]),
    first_at: Type.Optional(TimeMs),
    last_at: Type.Optional(TimeMs),
  },
  { additionalProperties: false },
)
export type Gap = Type.Static<typeof Gap>

/** `first_seq` to `last_seq` without a hole: each number is an event of the body, in order, or lies in a gap. */
export const BatchHeader = Type.Object(
  {
    epoch: Type.String({ pattern: UUID_PATTERN, description: 'Life of the spool; a new one starts at 1.' }),
    class: Type.Enum([...EVENT_CLASSES]),
    first_seq: Counter,
    last_seq: Counter,
    count: Type.Integer({ minimum: 0, maximum: WIRE.maxBatchEvents, description: 'Events in the body.' }),
    body_bytes: Type.Integer({ minimum: 0, maximum: WIRE.maxBatchBytes, description: 'Bytes of the body, decoded.' }),
    gaps: Type.Array(Gap, { maxItems: 256 }),
    chain_before: Type.Optional(Chain),
    /** Checksum over every record of the stream up to `last_seq`: two machines that go by one key differ in it. */
    chain: Type.Optional(Chain),
  },
  { additionalProperties: false },
)
export type BatchHeader = Type.Static<typeof BatchHeader>
const batchHeaderSchema = Compile(BatchHeader)

export type FrameRefusal = 'too_large' | 'malformed'
export type Frame =
  | { readonly kind: 'control'; readonly bytes: Uint8Array }
  | { readonly kind: 'command'; readonly envelope: Uint8Array }
  | { readonly kind: 'batch'; readonly batch: SealedBatch }

/** A batch as it came: nothing of the body was decoded yet. */
export interface SealedBatch {
  readonly header: BatchHeader
  readonly headerBytes: Uint8Array
  readonly signature: Uint8Array
  readonly body: Uint8Array
}

export function encodeControl(message: AgentMessage | ControllerMessage): Uint8Array {
  const json = Buffer.from(JSON.stringify(message))
  if (json.length < COMPRESS_FROM_BYTES) return Buffer.concat([Buffer.of(PLAIN), json])
  return Buffer.concat([Buffer.of(ZSTD), zstdCompressSync(json)])
}

/** A command envelope travels as the very bytes that were signed around; the inbox alone looks into it. */
export function encodeCommand(envelope: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(COMMAND), envelope])
}

/** Encodes events that are JSON text already; `sign` signs `batchMessage`. */
export function encodeBatch(
  header: BatchHeader,
  lines: readonly Uint8Array[],
  session: string,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const newline = Buffer.of(0x0a)
  const text = Buffer.concat(lines.flatMap((line) => [line, newline]))
  const body =
    text.length < COMPRESS_BATCH_FROM_BYTES
      ? zstdStored(text)
      : zstdCompressSync(text, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
  const headerBytes = Buffer.from(JSON.stringify(header))
  const lead = Buffer.alloc(5)
  lead[0] = BATCH
  lead.writeUInt32BE(headerBytes.length, 1)
  return Buffer.concat([lead, headerBytes, sign(batchMessage(session, headerBytes, body)), body])
}

/** A zstd frame of one raw block: what is small is not worth a compressor (RFC 8878, 3.1.1 and 3.1.1.2.2). Up to 64 KiB. */
export function zstdStored(content: Uint8Array): Uint8Array {
  const { length } = content
  const frame = Buffer.allocUnsafe(length + 10)
  frame.writeUInt32LE(0xfd2f_b528, 0)
  // A single segment; its size takes one byte, or two with 256 less.
  frame[4] = length < 256 ? 0x20 : 0x60
  let at = length < 256 ? frame.writeUInt8(length, 5) : frame.writeUInt16LE(length - 256, 5)
  at = frame.writeUIntLE((length << 3) | 1, at, 3)
  frame.set(content, at)
  return frame.subarray(0, at + length)
}

/** What an agent signs of a batch: the connection, the header and the compressed body. */
export function batchMessage(session: string, headerBytes: Uint8Array, body: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update(body).digest()
  return preAuthEncoding(BATCH_PAYLOAD_TYPE, Buffer.concat([Buffer.from(session, 'hex'), headerBytes, digest]))
}

export function decodeFrame(data: Uint8Array): Result<Frame, FrameRefusal> {
  const rest = data.subarray(1)
  switch (data[0]) {
    case PLAIN:
      return ok({ kind: 'control', bytes: rest })
    case ZSTD: {
      const decoded = inflate(rest, WIRE.maxControlBytes)
      return decoded.ok ? ok({ kind: 'control', bytes: decoded.value }) : decoded
    }
    case BATCH:
      return decodeBatch(rest)
    case COMMAND:
      return ok({ kind: 'command', envelope: rest })
    default:
      return refuse('malformed', `no frame starts with ${data[0] ?? 'nothing'}`)
  }
}

function decodeBatch(data: Uint8Array): Result<Frame, FrameRefusal> {
  if (data.length < 4) return refuse('malformed', 'the batch is cut short')
  const headerLength = Buffer.from(data.buffer, data.byteOffset, 4).readUInt32BE()
  const bodyAt = 4 + headerLength + SIGNATURE_BYTES
  if (headerLength > 64 * 1024 || bodyAt > data.length) return refuse('malformed', 'the batch is cut short')
  const headerBytes = data.subarray(4, 4 + headerLength)
  const parsed = parseStrictJson(headerBytes)
  if (!parsed.ok) return parsed
  if (!batchHeaderSchema.Check(parsed.value)) return refuse('malformed', 'not a batch header')
  const header = parsed.value
  const wrong = unsoundHeader(header)
  if (wrong !== undefined) return refuse('malformed', wrong)
  return ok({
    kind: 'batch',
    batch: { header, headerBytes, signature: data.subarray(4 + headerLength, bodyAt), body: data.subarray(bodyAt) },
  })
}

function unsoundHeader(header: BatchHeader): string | undefined {
  if (header.first_seq < 1 || header.last_seq < header.first_seq) return 'the numbers of the batch run backwards'
  let next = header.first_seq
  let lost = 0
  for (const gap of header.gaps) {
    if (gap.from < next || gap.to < gap.from || gap.to > header.last_seq) return 'the gaps are not in order'
    lost += gap.to - gap.from + 1
    next = gap.to + 1
  }
  return header.count + lost === header.last_seq - header.first_seq + 1
    ? undefined
    : 'the numbers of the batch do not add up'
}

/** Where the events of a batch stand. */
export type BatchNumbers = Pick<BatchHeader, 'first_seq' | 'last_seq' | 'gaps'>

/** The lines of a batch, decoded within the limit that the header names. The signature must have been verified before. */
export function batchLines(batch: {
  readonly header: Pick<BatchHeader, 'count' | 'body_bytes'>
  readonly body: Uint8Array
}): Result<readonly Uint8Array[], FrameRefusal> {
  if (batch.header.count === 0) return ok([])
  const decoded = inflate(batch.body, batch.header.body_bytes, batch.header.body_bytes)
  if (!decoded.ok) return decoded
  if (decoded.value.length !== batch.header.body_bytes)
    return refuse('malformed', 'the body has another length than its header says')
  const lines: Uint8Array[] = []
  let start = 0
  for (let end = decoded.value.indexOf(0x0a); end !== -1; end = decoded.value.indexOf(0x0a, start)) {
    if (end - start > WIRE.maxEventBytes) return refuse('too_large', `an event of ${end - start} bytes`)
    lines.push(decoded.value.subarray(start, end))
    start = end + 1
  }
  if (start !== decoded.value.length || lines.length !== batch.header.count)
    return refuse('malformed', 'the body has another number of events than its header says')
  return ok(lines)
}

/** The sequence numbers of the events of a batch, in order, gaps left out. */
export function* batchSequence(header: BatchNumbers): Generator<number> {
  let gapAt = 0
  for (let seq = header.first_seq; seq <= header.last_seq; seq++) {
    const gap = header.gaps[gapAt]
    if (gap && seq >= gap.from) {
      seq = gap.to
      gapAt++
      continue
    }
    yield seq
  }
}

/** `expectedBytes`: where the length is known, it comes in one piece and need not be put together from many. */
function inflate(data: Uint8Array, maxBytes: number, expectedBytes = 16_384): Result<Uint8Array, FrameRefusal> {
  try {
    return ok(
      zstdDecompressSync(data, { maxOutputLength: Math.max(1, maxBytes), chunkSize: Math.max(64, expectedBytes) }),
    )
  } catch (thrown) {
    const code =
      thrown instanceof RangeError || (thrown as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE'
        ? 'too_large'
        : 'malformed'
    return refuse(code, `zstd: ${reasonOf(thrown)}`)
  }
}
