/** Starts controllers as child processes, asks them, kills them; leaves none behind. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('controller-child.ts', import.meta.url))

export class ControllerProcess {
  readonly gatewayPort: number
  readonly apiUrl: string
  readonly #child: ChildProcess
  readonly #waiting: Map<number, (message: Answer) => void>
  #next = 1

  private constructor(child: ChildProcess, waiting: Map<number, (message: Answer) => void>, at: Addresses) {
    this.#child = child
    this.#waiting = waiting
    this.gatewayPort = at.gatewayPort
    this.apiUrl = at.apiUrl
  }

  /** A child with its modules loaded; `go` opens the stores and listens. */
  static standby(
    stateDir: string,
    flags: Readonly<Record<string, unknown>>,
    nodeOptions: readonly string[] = [],
  ): { go(): Promise<ControllerProcess>; cancel(): void } {
    const child = fork(PROGRAM, [stateDir, JSON.stringify(flags)], {
      execArgv: [...nodeOptions],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const waiting = new Map<number, (message: Answer) => void>()
    child.on('message', (message: Answer) => {
      waiting.get(message.id)?.(message)
      waiting.delete(message.id)
    })
    const said = (id: number) =>
      new Promise<Answer>((resolve, reject) => {
        waiting.set(id, resolve)
        child.once('exit', (code, signal) =>
          reject(new Error(`the controller ended before it started: ${code ?? signal}`)),
        )
      })
    const loaded = said(-1)
    loaded.catch(() => undefined) // told by `go`, when somebody asks for it
    return {
      async go() {
        await loaded
        const started = said(0)
        child.send({ id: 0, ask: 'go' })
        const { answer } = await started
        return new ControllerProcess(child, waiting, answer as Addresses)
      },
      cancel: () => child.kill('SIGKILL'),
    }
  }

  static start(
    stateDir: string,
    flags: Readonly<Record<string, unknown>>,
    nodeOptions: readonly string[] = [],
  ): Promise<ControllerProcess> {
    return ControllerProcess.standby(stateDir, flags, nodeOptions).go()
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async ask<T>(ask: string): Promise<T> {
    const id = this.#next++
    const answered = Promise.withResolvers<Answer>()
    const ended = () => answered.reject(new Error(`the controller ended while it was asked for ${ask}`))
    this.#child.once('exit', ended)
    this.#waiting.set(id, answered.resolve)
    this.#child.send({ id, ask })
    const message = await answered.promise
    this.#child.off('exit', ended)
    if (message.failed !== undefined) throw new Error(message.failed)
    return message.answer as T
  }

  /** No goodbye. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  async stop(): Promise<void> {
    const gone = once(this.#child, 'exit')
    await this.ask('stop')
    await gone
  }
}

interface Addresses {
  readonly gatewayPort: number
  readonly apiUrl: string
}

interface Answer {
  readonly id: number
  readonly answer?: unknown
  readonly failed?: string
}
