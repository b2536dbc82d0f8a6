import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, open, readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Fault } from '@firebreak/shared/result.ts'
import { readRecord, writeRecord } from './ownership.ts'
import type { LabRecord, MemberRecord } from './ownership.ts'
import { PREFIX, isLabId } from './places.ts'
import type { Places } from './places.ts'
import { identify } from './process-table.ts'
import type { ProcessIdentity } from './process-table.ts'
import { run } from './program.ts'
import type { Entry, ExecOptions, Finished } from './program.ts'
import { removeRemains } from './remains.ts'

/** A lab's own PID, mount and network namespaces, and its directory. */
export interface Territory extends AsyncDisposable {
  readonly id: string
  readonly directory: string
  /** How to run a program of this machine in the lab's namespaces (the switch's side). */
  entry(argv: readonly string[]): Entry
  exec(argv: readonly string[], options?: ExecOptions): Promise<Finished>
  /** Runs `ip` commands, one a line, in one process; the first that fails ends it. */
  ip(lines: readonly string[]): Promise<void>
  record(member: MemberRecord): Promise<void>
}

const START_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 60_000

export async function claimTerritory(
  places: Places,
  name: string | undefined,
  interactive: boolean,
): Promise<Territory> {
  const id = `${PREFIX}${name === undefined ? '' : `${name}-`}${randomBytes(4).toString('hex')}`
  if (!isLabId(id))
    throw new Fault('lab_bad_name', `${name} cannot name a lab: small letters, digits and dashes, at most 30`)
  const directory = join(places.labs, id)
  const owner = identify(process.pid)
  if (owner === undefined) throw new Fault('lab_unsupported', '/proc does not list this process')
  await mkdir(places.labs, { recursive: true, mode: 0o700 })
  const startedAt = new Date().toISOString()
  await writeRecord(directory, { id, startedAt, interactive, owner, members: [] })

  await using log = await open(join(directory, 'warden.log'), 'w')
  const warden = spawn(process.execPath, [fileURLToPath(new URL('warden.ts', import.meta.url)), directory], {
    detached: true,
    cwd: '/',
    stdio: ['pipe', 'pipe', log.fd],
  })
  const ended = once(warden, 'exit')
  const [input, output] = [warden.stdin, warden.stdout] as [Socket, Socket] // by the `pipe`s above
  input.on('error', () => {}) // seen as its exit
  const first = await Promise.race([
    once(output, 'data').then(String),
    ended.then(() => undefined),
    expiry(START_TIMEOUT_MS),
  ])
  const said = first === undefined ? undefined : (JSON.parse(first) as { init?: ProcessIdentity })
  const wardenIdentity = warden.pid === undefined ? undefined : identify(warden.pid)
  if (said?.init === undefined || wardenIdentity === undefined) {
    input.end()
    await ended
    const why = await readFile(join(directory, 'warden.log'), 'utf8').catch(() => '')
    await removeRemains(directory)
    throw new Fault(
      'lab_unsupported',
      `the lab's namespaces could not be made: ${why.trim() || 'no answer from the warden'}`,
    )
  }
  // The test may end while the lab is up: nothing here keeps its process alive; the pipe then closes and the warden clears up.
  warden.unref()
  for (const pipe of [input, output]) pipe.unref()
  const record: LabRecord = { id, startedAt, interactive, owner, warden: wardenIdentity, init: said.init, members: [] }
  await writeRecord(directory, record)
  return new ClaimedTerritory(record, said.init, directory, async () => {
    warden.ref()
    input.end()
    const outcome = await Promise.race([ended, expiry(STOP_TIMEOUT_MS)])
    if (outcome === undefined)
      throw new Fault('lab_not_removed', `lab ${id} is still there after ${STOP_TIMEOUT_MS} ms`)
    if (warden.exitCode !== 0) {
      const why = await readFile(join(directory, 'warden.log'), 'utf8').catch(() => '')
      throw new Fault('lab_not_removed', `lab ${id} was not removed cleanly: ${why.trim()}`)
    }
  })
}

/** Does not keep the process alive by itself: what it races against does. */
async function expiry(ms: number): Promise<undefined> {
  await sleep(ms, undefined, { ref: false })
}

class ClaimedTerritory implements Territory {
  readonly id: string
  readonly directory: string
  readonly #init: ProcessIdentity
  readonly #stop: () => Promise<void>
  readonly #members = new Map<string, MemberRecord>()
  #record: LabRecord
  #writing: Promise<void> = Promise.resolve()

  constructor(record: LabRecord, init: ProcessIdentity, directory: string, stop: () => Promise<void>) {
    this.id = record.id
    this.directory = directory
    this.#record = record
    this.#init = init
    this.#stop = stop
  }

  entry(argv: readonly string[]): Entry {
    return { argv: ['nsenter', '-t', String(this.#init.pid), '-p', '-m', '-n', '--', ...argv], wrapped: true }
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return await run(this.entry(argv), argv.join(' '), options)
  }

  async ip(lines: readonly string[]): Promise<void> {
    await run(this.entry(['ip', '-batch', '-']), `ip: ${lines.join('; ')}`, { input: `${lines.join('\n')}\n` })
  }

  async record(member: MemberRecord): Promise<void> {
    this.#members.set(member.name, member)
    this.#record = { ...this.#record, members: [...this.#members.values()] }
    this.#writing = this.#writeAfter(this.#writing, this.#record)
    await this.#writing
  }

  /** One write at a time, the newest last; none once the lab's directory is gone. */
  async #writeAfter(earlier: Promise<void>, record: LabRecord): Promise<void> {
    await earlier
    if ((await readRecord(this.directory)) !== undefined) await writeRecord(this.directory, record)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing
    await this.#stop()
  }
}
