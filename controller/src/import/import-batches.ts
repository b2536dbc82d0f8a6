/** Events of a recording as the batches that the agents of its hosts would have sent. */
import { constants, zstdCompressSync } from 'node:zlib'
import { classOf, type EventClass } from '@firebreak/shared/events/classes.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { RecordedEvent } from '@firebreak/shared/recordings/recording.ts'
import type { BatchHeader } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'

export interface ImportBatch {
  readonly agentId: AgentId
  readonly batch: { readonly header: BatchHeader; readonly body: Uint8Array }
}

export interface StreamKey {
  readonly agentId: AgentId
  readonly class: EventClass
}

/** `nextOf`: the number after the last one of a stream; `epochOf`: the epoch of a host. In the order in which the events stand. */
export function batchesOf(
  events: readonly RecordedEvent[],
  agentIdOf: (host: string) => AgentId,
  nextOf: (stream: StreamKey) => number,
  epochOf: (agentId: AgentId) => string,
): readonly ImportBatch[] {
  const streams = new Map<string, { readonly key: StreamKey; readonly lines: Buffer[] }>()
  for (const { host, event } of events) {
    const key = { agentId: agentIdOf(host), class: classOf(event) }
    const name = `${key.agentId} ${key.class}`
    const stream = streams.get(name) ?? { key, lines: [] }
    stream.lines.push(Buffer.from(`${JSON.stringify(event)}\n`))
    streams.set(name, stream)
  }
  return [...streams.values()].flatMap(({ key, lines }) => split(key, lines, nextOf(key), epochOf(key.agentId)))
}

function split(
  { agentId, class: name }: StreamKey,
  lines: readonly Buffer[],
  first: number,
  epoch: string,
): ImportBatch[] {
  const batches: ImportBatch[] = []
  let from = 0
  while (from < lines.length) {
    let bytes = 0
    let to = from
    while (to < lines.length && to - from < WIRE.maxBatchEvents) {
      const { length } = lines[to] as Buffer
      if (to > from && bytes + length > WIRE.maxBatchBytes) break
      bytes += length
      to++
    }
    const header = {
      epoch,
      class: name,
      first_seq: first + from,
      last_seq: first + to - 1,
      count: to - from,
      body_bytes: bytes,
      gaps: [],
    }
    batches.push({ agentId, batch: { header, body: compressed(Buffer.concat(lines.slice(from, to), bytes)) } })
    from = to
  }
  return batches
}

function compressed(body: Buffer): Uint8Array {
  return zstdCompressSync(body, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
}
