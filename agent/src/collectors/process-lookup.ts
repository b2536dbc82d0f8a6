import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { entityIdOf, readBootId } from '../platform/linux/process-identity.ts'
import type { AccountNames } from './accounts.ts'
import { basicFields } from './process-events.ts'
import { ProcfsReader } from './procfs-process.ts'

const TICK_MS = 10
const MAX_KNOWN = 512

type ProcessFields = NonNullable<Event['process']>

/** Says who a pid is, for events of other kinds. Asked again for the same process it costs one small read. */
export class ProcessLookup {
  readonly #clock: Pick<Clock, 'now'>
  readonly #accounts: AccountNames
  readonly #reader: ProcfsReader
  readonly #bootId: string
  readonly #known = new Map<string, ProcessFields>()

  constructor(clock: Pick<Clock, 'now'>, accounts: AccountNames, procRoot: string) {
    this.#clock = clock
    this.#accounts = accounts
    this.#reader = new ProcfsReader(procRoot)
    this.#bootId = readBootId(procRoot)
  }

  pids(): number[] {
    return this.#reader.pids()
  }

  /** Undefined when nobody has this pid. */
  of(pid: number): ProcessFields | undefined {
    const stat = this.#reader.stat(pid)
    if (!stat) return undefined
    const key = `${pid}:${stat.startTicks}:${stat.startStack}`
    const known = this.#known.get(key)
    if (known) return known
    const fields = basicFields(
      {
        pid,
        entityId: entityIdOf(this.#bootId, pid, stat.startTicks),
        startedAt: new Date(this.#reader.bootedAt(this.#clock.now()) + stat.startTicks * TICK_MS).toISOString(),
        image: this.#reader.image(pid, stat.comm),
        executable: undefined,
      },
      this.#accounts,
    )
    this.#known.set(key, fields)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break
      this.#known.delete(oldest)
    }
    return fields
  }
}
