import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import type { WriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '@firebreak/shared/result.ts'
import { childrenOf } from './process-table.ts'
import { PcapReader } from './packet.ts'
import type { Packet } from './packet.ts'
import type { Territory } from './territory.ts'

/** What passes a port of the switch, outside of the host: what is seen here did leave the host, or did reach it. */
export interface Capture extends AsyncDisposable {
  /** So far, in the order in which they passed. */
  readonly packets: readonly Packet[]
  /** The pcap file; complete after `stop()`, gone with the lab. */
  readonly path: string
  /** The first packet that fits, already seen or still to come. */
  waitFor(wanted: (packet: Packet) => boolean, timeoutMs?: number): Promise<Packet>
  /** Ends it. Throws `lab_capture_incomplete` when the kernel dropped packets: then it proves nothing. */
  stop(): Promise<readonly Packet[]>
}

// In tcpdump's own process: packets on their way when it is told to stop are still read.
const SETTLE_MS = 100

/** Resolves once tcpdump listens: what passes afterwards is seen. `filter`: pcap-filter(7). */
export async function openCapture(territory: Territory, port: string, filter: string, path: string): Promise<Capture> {
  const tcpdump = [
    'tcpdump',
    '-i',
    port,
    '-n',
    '-w',
    '-',
    '-U',
    '--immediate-mode',
    '-B',
    '16384',
    '-Z',
    'root',
    ...(filter === '' ? [] : ['--', filter]),
  ]
  const [file = '', ...rest] = territory.entry(tcpdump).argv
  const child = spawn(file, rest, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const capture = new TcpdumpCapture(child, path)
  await capture.listening()
  return capture
}

class TcpdumpCapture implements Capture {
  readonly packets: Packet[] = []
  readonly path: string
  readonly #child: ChildProcess
  readonly #file: WriteStream
  readonly #reader = new PcapReader()
  readonly #watchers = new Set<() => void>()
  readonly #closed: Promise<void>
  #said = ''
  #broken: unknown
  #stopped: Promise<readonly Packet[]> | undefined

  constructor(child: ChildProcess, path: string) {
    this.path = path
    this.#child = child
    this.#file = createWriteStream(path)
    this.#file.on('error', (cause) => this.#break(cause))
    this.#closed = new Promise((resolve) => {
      child
        .once('close', () => resolve())
        .once('error', (cause) => {
          this.#break(cause)
          resolve()
        })
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
      this.#wake()
    })
    child.stdout?.on('data', (chunk: Buffer) => {
      this.#file.write(chunk)
      try {
        this.packets.push(...this.#reader.push(chunk))
      } catch (cause) {
        this.#break(cause)
      }
      this.#wake()
    })
    void this.#closed.then(() => this.#wake())
  }

  async listening(): Promise<void> {
    await this.#until(() => (this.#said.includes('listening on') ? true : undefined), 15_000, 'tcpdump does not listen')
  }

  async waitFor(wanted: (packet: Packet) => boolean, timeoutMs = 10_000): Promise<Packet> {
    return await this.#until(() => this.packets.find(wanted), timeoutMs, `no such packet among ${this.packets.length}`)
  }

  async stop(): Promise<readonly Packet[]> {
    this.#stopped ??= this.#end()
    return await this.#stopped
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopped === undefined) await this.#end(false)
  }

  async #end(mustBeWhole = true): Promise<readonly Packet[]> {
    await sleep(SETTLE_MS)
    const outer = this.#child.pid
    const inner = outer === undefined ? undefined : childrenOf(outer)[0]
    const alive = inner !== undefined && this.#child.exitCode === null
    if (alive) process.kill(inner, 'SIGINT')
    await this.#closed
    this.#file.end()
    await finished(this.#file)
    if (!mustBeWhole) return this.packets
    if (this.#broken !== undefined)
      throw new Fault('lab_capture_incomplete', 'the capture could not be read', { cause: this.#broken })
    const dropped = /^(\d+) packets? dropped by kernel/m.exec(this.#said)?.[1]
    if (!alive || dropped !== '0')
      throw new Fault('lab_capture_incomplete', `tcpdump missed packets or ended early: ${this.#said.trim()}`)
    return this.packets
  }

  async #until<T>(look: () => T | undefined, timeoutMs: number, otherwise: string): Promise<T> {
    return await new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        clearTimeout(timer)
        this.#watchers.delete(check)
        finish()
      }
      const fail = (code: string): void =>
        settle(() => reject(new Fault(code, `${otherwise}: ${this.#said.trim()}`, { cause: this.#broken })))
      const timer = setTimeout(() => fail('lab_timed_out'), timeoutMs)
      const check = (): void => {
        const found = look()
        if (found !== undefined) settle(() => resolve(found))
        else if (this.#broken !== undefined || this.#child.exitCode !== null) fail('lab_capture_incomplete')
      }
      this.#watchers.add(check)
      check()
    })
  }

  #break(cause: unknown): void {
    this.#broken ??= cause
    this.#wake()
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher()
  }
}
