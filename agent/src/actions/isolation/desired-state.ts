/** The desired state in memory and on disk, always the same; and the ends that the receipts still have to hear of. */
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Log } from '../../log.ts'
import type { Effect } from '../action.ts'
import { LOG } from './log-names.ts'
import type { Ended, IsolationRecord, IsolationState, IsolationStore, Phase } from './state.ts'

const ENDED_KEPT = 8

export class DesiredState {
  readonly #store: IsolationStore
  readonly #log: Log
  readonly #changed: () => void
  #state: IsolationState | undefined

  /** `changed`: the phase is another one now, on disk too. */
  constructor(store: IsolationStore, log: Log, changed: () => void = () => undefined) {
    this.#store = store
    this.#log = log
    this.#changed = changed
  }

  /** Throws when there is a state and it cannot be read. */
  read(): IsolationState {
    this.#state ??= this.#store.read()
    return this.#state
  }

  /** For those who end an isolation: what cannot be read is to be cleared. */
  readOrLost(): IsolationState {
    try {
      return this.read()
    } catch (error) {
      this.#log.error(LOG.stateLost, { error: reasonOf(error) })
      return { v: 1, phase: 'none', ended: [] }
    }
  }

  record(): IsolationRecord {
    const { record } = this.read()
    if (!record) throw new Error('no isolation is recorded')
    return record
  }

  /** Durable when it returns. `ended`: one more that is over. */
  write(next: { readonly phase: Phase; readonly record?: IsolationRecord; readonly ended?: Ended }): void {
    const earlier = this.readOrLost().ended
    const ended = next.ended ? [...earlier, next.ended].slice(-ENDED_KEPT) : earlier
    this.#keep({ v: 1, phase: next.phase, ...(next.record ? { record: next.record } : {}), ended })
    this.#changed()
  }

  /** False when the disk does not take it: then it is known until the agent stops, and a crash ends in the earlier state. */
  beginRelease(record: IsolationRecord): boolean {
    try {
      this.write({ phase: 'releasing', record })
      return true
    } catch (error) {
      this.#log.error(LOG.stateUnwritable, { command_id: record.cmd_id, error: reasonOf(error) })
      this.#state = { v: 1, phase: 'releasing', record, ended: this.readOrLost().ended }
      this.#changed()
      return false
    }
  }

  /**
   * Over. A disk that takes no new file may still let go of old ones, and without both files there is nothing to put back in force.
   * Returns why a restart would isolate the host again; undefined when it would not. `isNoted`: what `beginRelease` returned.
   */
  endRelease(ended: Ended | undefined, isNoted: boolean): string | undefined {
    try {
      if (!isNoted) this.#store.removeBootFile()
      this.write(ended ? { phase: 'none', ended } : { phase: 'none' })
      return undefined
    } catch (error) {
      this.#log.error(LOG.stateUnwritable, { command_id: ended?.cmd_id, error: reasonOf(error) })
    }
    const earlier = this.readOrLost().ended
    this.#state = { v: 1, phase: 'none', ended: ended ? [...earlier, ended].slice(-ENDED_KEPT) : earlier }
    this.#changed()
    try {
      this.#store.clear()
      return undefined
    } catch (error) {
      return reasonOf(error)
    }
  }

  /** After a write that failed: the disk knows. */
  forget(): void {
    this.#state = undefined
  }

  /** Tells each end that no order asked for, until `tell` has made it durable; what fails is told again at the next start. */
  async tellEnded(tell: (cmdId: string, effect: Effect<'isolate-host'>) => Promise<void>): Promise<void> {
    for (const ended of this.read().ended.filter((one) => !one.reported)) {
      const { cmd_id, cause, why, evidence } = ended
      try {
        await tell(cmd_id, { state: 'reverted', code: cause === 'lapsed' ? 'lapsed' : 'overridden', why, evidence })
        const state = this.read()
        this.#keep({ ...state, ended: state.ended.map((one) => (one === ended ? { ...one, reported: true } : one)) })
      } catch (error) {
        this.#log.error(LOG.endUnreported, { command_id: cmd_id, error: reasonOf(error) })
      }
    }
  }

  #keep(state: IsolationState): void {
    this.#store.write(state)
    this.#state = state
  }
}
