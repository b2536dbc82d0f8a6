/**
 * Which epoch a spool is in, and which it was in before. The name of the epoch in force is switched last, when its successor is whole
 * on disk: a crash on the way leaves the old one in force and nothing lost.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isUuid } from '@firebreak/shared/ids.ts'
import { Renewal, StreamCount } from '@firebreak/shared/wire/messages.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { readIfThere } from '../../disk/atomic-file.ts'
import type { WriteFile } from './ballast.ts'

/** As many as a status tells, and the last counts of the epochs before this one. */
const MAX_RENEWALS = 16
const MAX_CLOSED = 24

const History = Type.Object({ renewals: Type.Array(Renewal), closed: Type.Array(StreamCount) })
type History = Type.Static<typeof History>
const historySchema = Compile(History)

export class Epochs {
  readonly #folder: string
  readonly #write: WriteFile
  #history: History

  constructor(folder: string, write: WriteFile) {
    this.#folder = folder
    this.#write = write
    this.#history = readHistory(join(folder, 'epochs.json'))
  }

  /** `undefined`: there is none, or its name cannot be read. */
  current(): string | undefined {
    const text = readIfThere(join(this.#folder, 'epoch'))?.toString('utf8').trim()
    return text !== undefined && isUuid(text) ? text : undefined
  }

  folderOf(epoch: string): string {
    return join(this.#folder, epoch)
  }

  get renewals(): readonly Renewal[] {
    return this.#history.renewals
  }

  /** The last word on epochs that have ended here. */
  get closed(): readonly StreamCount[] {
    return this.#history.closed
  }

  begin(epoch: string): void {
    this.#write(join(this.#folder, 'epoch'), `${epoch}\n`)
  }

  /** From here on `renewal.into` is in force. `counts`: of the epoch that ends, when they are this spool's to tell. */
  renew(renewal: Renewal, counts: readonly StreamCount[]): void {
    const history = {
      renewals: [...this.#history.renewals, renewal].slice(-MAX_RENEWALS),
      closed: [...this.#history.closed, ...counts].slice(-MAX_CLOSED),
    }
    this.#write(join(this.#folder, 'epochs.json'), JSON.stringify(history))
    this.begin(renewal.into)
    this.#history = history
  }

  /** Frees what is left of all but this epoch. */
  removeOthers(epoch: string): void {
    for (const name of readdirSync(this.#folder))
      if (isUuid(name) && name !== epoch) rmSync(join(this.#folder, name), { recursive: true, force: true })
  }
}

function readHistory(path: string): History {
  const text = readIfThere(path)
  try {
    const value: unknown = text && JSON.parse(text.toString('utf8'))
    return historySchema.Check(value) ? value : { renewals: [], closed: [] }
  } catch {
    return { renewals: [], closed: [] } // it only explains what is past; the numbers in force are not in it
  }
}
