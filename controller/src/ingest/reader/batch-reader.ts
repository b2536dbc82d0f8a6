/**
 * Threads that read batches, so that the thread with the sockets and the state has its hands free. A batch goes to the thread that has
 * least to do, so that a small one does not wait behind a large one of somebody else; while batches of an agent are under way its next
 * ones go to the same thread, so that they come back in order. A thread that dies is replaced; the batch it died of is refused, the
 * others are read again.
 */
import { Worker } from 'node:worker_threads'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { IngestLog } from '../log-names.ts'
import type { BatchReading, BatchToRead, ScreenRules } from './read-batch.ts'
import type { Answered, Asked } from './reader-thread.ts'

export interface BatchReader {
  /** In the order of the calls for one agent. Throws a Fault `reader_failed` when the thread died of it. */
  read(batch: BatchToRead): Promise<BatchReading>
  /** From the next batch on, detection is told of the events that these rules say something about. */
  use(rules: ScreenRules): void
  /** From the next batch on, also of those with a value that this table of indicators holds. */
  watch(indicators: SharedArrayBuffer): void
  stop(): Promise<void>
}

export function createBatchReader(log: IngestLog, threads: number): BatchReader {
  return new ReaderThreads(log, threads)
}

class ReaderThreads implements BatchReader {
  readonly #threads: readonly ReaderThread[]
  /** Where the batches of an agent are under way, and how many. */
  readonly #places = new Map<string, { readonly thread: ReaderThread; batches: number }>()

  constructor(log: IngestLog, threads: number) {
    this.#threads = Array.from({ length: Math.max(1, threads) }, () => new ReaderThread(log))
  }

  async read(batch: BatchToRead): Promise<BatchReading> {
    const { agentId } = batch.origin
    const place = this.#places.get(agentId) ?? { thread: this.#idlest(), batches: 0 }
    this.#places.set(agentId, place)
    place.batches++
    try {
      return await place.thread.read(batch)
    } finally {
      if (--place.batches === 0) this.#places.delete(agentId)
    }
  }

  use(rules: ScreenRules): void {
    for (const thread of this.#threads) thread.use(rules)
  }

  watch(indicators: SharedArrayBuffer): void {
    for (const thread of this.#threads) thread.watch(indicators)
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()))
  }

  #idlest(): ReaderThread {
    return this.#threads.reduce((idlest, thread) => (thread.events() < idlest.events() ? thread : idlest))
  }
}

interface Job {
  readonly batch: BatchToRead
  readonly done: PromiseWithResolvers<BatchReading>
}

class ReaderThread {
  readonly #log: IngestLog
  /** In the order of asking; the first is what the thread is at. */
  readonly #jobs = new Map<number, Job>()
  #worker: Worker
  #rules: ScreenRules | undefined
  #indicators: SharedArrayBuffer | undefined
  #next = 1
  #stopped = false

  constructor(log: IngestLog) {
    this.#log = log
    this.#worker = this.#start()
  }

  read(batch: BatchToRead): Promise<BatchReading> {
    if (this.#stopped) return Promise.reject(new Fault('reader_failed', 'the reader is stopped'))
    const id = this.#next++
    const done = Promise.withResolvers<BatchReading>()
    this.#jobs.set(id, { batch, done })
    this.#askToRead(id, batch)
    return done.promise
  }

  /** Events that it still has to read. */
  events(): number {
    let events = 0
    for (const { batch } of this.#jobs.values()) events += batch.header.count
    return events
  }

  use(rules: ScreenRules): void {
    this.#rules = rules
    this.#ask({ ask: 'use', rules })
  }

  watch(indicators: SharedArrayBuffer): void {
    this.#indicators = indicators
    this.#ask({ ask: 'watch', indicators })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#worker.terminate()
    for (const { done } of this.#jobs.values()) done.reject(new Fault('reader_failed', 'the reader is stopped'))
    this.#jobs.clear()
  }

  /** A body is a piece of what came from the socket, and a clone would take all of that along. */
  #askToRead(id: number, { origin, header, body }: BatchToRead): void {
    const own = new Uint8Array(body)
    this.#ask({ ask: 'read', id, batch: { origin, header, body: own } }, [own.buffer])
  }

  #ask(message: Asked, handedOver: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, [...handedOver])
  }

  #start(): Worker {
    const worker = new Worker(new URL('reader-thread.ts', import.meta.url), { name: 'firebreak-reader' })
    let why = 'it ended'
    worker.on('message', (answer: Answered) => this.#answered(answer))
    worker.on('error', (thrown) => {
      why = reasonOf(thrown)
    })
    worker.on('exit', () => {
      if (!this.#stopped) this.#replace(why)
    })
    // The controller ends when its sockets do.
    worker.unref()
    return worker
  }

  #answered(answer: Answered): void {
    const job = this.#jobs.get(answer.id)
    this.#jobs.delete(answer.id)
    if ('failed' in answer) job?.done.reject(new Fault('reader_failed', answer.failed))
    else job?.done.resolve(answer.reading)
  }

  #replace(why: string): void {
    this.#log.error('ingest.reader.replaced', { why, waiting: this.#jobs.size })
    const [first] = this.#jobs.keys()
    if (first !== undefined) {
      this.#jobs.get(first)?.done.reject(new Fault('reader_failed', `the thread that read the batch ended: ${why}`))
      this.#jobs.delete(first)
    }
    this.#worker = this.#start()
    if (this.#rules) this.#ask({ ask: 'use', rules: this.#rules })
    if (this.#indicators) this.#ask({ ask: 'watch', indicators: this.#indicators })
    for (const [id, { batch }] of this.#jobs) this.#askToRead(id, batch)
  }
}
