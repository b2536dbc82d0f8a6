/** The thread that reads batches: asked in order, answers in order. The text of a batch is handed over, not copied. */
import { parentPort } from 'node:worker_threads'
import { MatchTable } from '@firebreak/shared/indicators/match-table.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type BatchReading, type BatchToRead, readBatch, type ScreenRules, screenOf, watching } from './read-batch.ts'

export type Asked =
  | { readonly ask: 'read'; readonly id: number; readonly batch: BatchToRead }
  | { readonly ask: 'use'; readonly rules: ScreenRules | undefined }
  /** Memory of a table of indicators; what is added to it later is seen here at once. */
  | { readonly ask: 'watch'; readonly indicators: SharedArrayBuffer }
export type Answered =
  | { readonly id: number; readonly reading: BatchReading }
  | { readonly id: number; readonly failed: string }

const port = parentPort
if (!port) throw new TypeError('this is the entry of a thread')
let rules = screenOf(undefined)
let indicators: MatchTable | undefined
let screen = rules

port.on('message', (message: Asked) => {
  if (message.ask === 'use') {
    rules = screenOf(message.rules)
    screen = watching(rules, indicators)
    return
  }
  if (message.ask === 'watch') {
    indicators = new MatchTable(message.indicators)
    screen = watching(rules, indicators)
    return
  }
  const { id, batch } = message
  try {
    const reading = readBatch(batch, screen)
    if (!reading.ok) {
      port.postMessage({ id, reading })
      return
    }
    const text = ownMemory(reading.text)
    port.postMessage({ id, reading: { ...reading, text } }, [text.buffer])
  } catch (thrown) {
    port.postMessage({ id, failed: reasonOf(thrown) })
  }
})

/** Only memory in which nothing else lies may be given away; small buffers share one. */
function ownMemory(text: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = text
  const alone = buffer instanceof ArrayBuffer && buffer.byteLength === text.length
  return alone ? new Uint8Array(buffer) : new Uint8Array(text)
}
