/** One end of the pipe to a child of the test network. */
import type { ChildProcess } from 'node:child_process'

interface Message {
  readonly ready?: true
  readonly id?: number
  readonly value?: unknown
  readonly error?: string
}

export class Remote<Call> {
  readonly ready: Promise<void>
  /** Resolves with the signal or exit code that ended it. */
  readonly ended: Promise<NodeJS.Signals | number | null>
  /** Messages that answer no call: events, ends, reports. */
  readonly told: object[] = []
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #next = 1

  constructor(child: ChildProcess) {
    this.#child = child
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    child.on('message', (message: Message) => {
      const waiting = message.id === undefined ? undefined : this.#waiting.get(message.id)
      if (message.ready) ready.resolve()
      else if (!waiting) this.told.push(message)
      else if (message.error !== undefined) waiting.reject(new Error(message.error))
      else waiting.resolve(message.value as never)
    })
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        ready.reject(new Error(`ended before it was ready: ${signal ?? code}`))
        for (const { reject } of this.#waiting.values()) reject(new Error(`ended: ${signal ?? code}`))
        resolve(signal ?? code)
      })
    })
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  call<T>(call: Call): Promise<T> {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, call })
    })
  }

  kill(): Promise<unknown> {
    this.#child.kill('SIGKILL')
    return this.ended
  }
}
