/** Looking through a recording without a controller: what would be stored and refused, when it begins and ends, when each line is due. */
import { basename } from 'node:path'
import {
  type ReadAs,
  type ReadLines,
  RecordingReader,
  type RecordingLine,
  RECORD_REFUSALS,
} from '@firebreak/shared/recordings/recording.ts'
import type { Import } from '../api/imports.ts'
import type { Span } from './import-pace.ts'
import type { RecordingFile } from './recording-files.ts'

export interface ReadOptions {
  readonly readAs: ReadAs
  readonly host: string | undefined
  readonly nowMs: number
}

export interface Looked {
  readonly lines: number
  readonly records: number
  readonly storedRecords: number
  readonly storedEvents: number
  readonly refused: Import['refused']
  readonly hosts: readonly { readonly hostname: string; readonly events: number }[]
  /** `undefined` when no record has a time. */
  readonly span: Span | undefined
}

const MAX_EXAMPLES = 5

export async function lookThrough(file: RecordingFile, fileSha256: string, options: ReadOptions): Promise<Looked> {
  const reader = readerOf(fileSha256, basename(file.name), options)
  const refused = new Map<string, { records: number; examples: { line: number; why: string }[] }>()
  const hosts = new Map<string, { hostname: string; events: number }>()
  let [lines, storedRecords, storedEvents, refusedRecords] = [0, 0, 0, 0]
  let [firstMs, lastMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  const count = (read: ReadLines) => {
    for (const { host, records, recordedMs, event } of read.events) {
      const known = hosts.get(host.toLowerCase()) ?? { hostname: host, events: 0 }
      known.events++
      hosts.set(host.toLowerCase(), known)
      storedRecords += records
      storedEvents++
      if (event.firebreak?.import?.time !== 'record') continue
      firstMs = Math.min(firstMs, recordedMs)
      lastMs = Math.max(lastMs, recordedMs)
    }
    for (const { code, line, why } of read.refused) {
      const known = refused.get(code) ?? { records: 0, examples: [] }
      refused.set(code, known)
      known.records++
      if (known.examples.length < MAX_EXAMPLES) known.examples.push({ line, why })
    }
    refusedRecords += read.refused.length
  }
  for await (const batch of file.lines()) {
    for (const line of batch) reader.push(line, ++lines)
    count(reader.take())
  }
  reader.end()
  count(reader.take())
  return {
    lines,
    records: storedRecords + refusedRecords,
    storedRecords,
    storedEvents,
    refused: RECORD_REFUSALS.flatMap((code) => {
      const known = refused.get(code)
      return known === undefined ? [] : [{ code, ...known }]
    }),
    hosts: [...hosts.values()],
    span: lastMs < firstMs ? undefined : { firstMs, lastMs },
  }
}

/** Time of each line, as far as it has one. */
export function timesOf(lines: readonly RecordingLine[], options: ReadOptions): readonly (number | undefined)[] {
  const reader = readerOf('0'.repeat(64), 'recording', options)
  for (const [at, line] of lines.entries()) reader.push(line, at)
  reader.end()
  const times: (number | undefined)[] = lines.map(() => undefined)
  for (const { line, recordedMs, event } of reader.take().events)
    if (event.firebreak?.import?.time === 'record') times[line] = recordedMs
  return times
}

function readerOf(fileSha256: string, defaultHost: string, { readAs, host, nowMs }: ReadOptions): RecordingReader {
  return new RecordingReader({ readAs, fileSha256, defaultHost, host, nowMs })
}
