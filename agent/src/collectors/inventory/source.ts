import type { InventoryFacts, InventoryKind } from '@firebreak/shared/events/inventory.ts'
import type { Event } from '@firebreak/shared/events/event.ts'

/** One thing that a host has. */
export interface Item {
  /** Stays the same as long as it is the same thing, over restarts of agent and host. */
  readonly key: string
  /** For people: `openssl 3.0.1`. */
  readonly label: string
  /** Another value here is a change. */
  readonly facts: InventoryFacts
  /** Told with it, but no change: a pid, what runs just now. */
  readonly loose?: InventoryFacts
  /** Who holds it, where that is a process. */
  readonly process?: Event['process']
}

export interface Reading {
  readonly items: readonly Item[]
  /** What could not be read, in words; then nothing is said to be gone because it was not found. */
  readonly troubles: readonly string[]
  /** How many more there are than may be told. */
  readonly leftOut?: number
}

/**
 * One place where a kind of thing is written down. `version` is cheap and differs when it must be read again; empty when the place is not
 * there. `read` may take its time, gives the event loop back, has a limit on everything, and throws only what is nobody's fault.
 */
export interface InventorySource {
  readonly name: string
  readonly kind: InventoryKind
  /** Files, and folders with a `/` at the end: something happening there makes it look at once. Absolute, below the root; asked again now and then. */
  readonly watch: readonly string[]
  /** Looked at every `fast_check_s` instead of every `change_check_s`: nothing there can be watched. */
  readonly fast?: boolean
  version(): Promise<string> | string
  read(): Promise<Reading>
}

/** Where the host is. */
export interface Roots {
  readonly root: string
  readonly procRoot: string
}

/** Gathers items and troubles under a limit. */
export class Findings {
  readonly #limit: number
  readonly #items = new Map<string, Item>()
  readonly #troubles: string[] = []
  #over = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** A second item under one key gets a number: two equal lines are two items. */
  add(item: Item): void {
    if (this.#items.size >= this.#limit) {
      this.#over += 1
      return
    }
    const key = cutKey(item.key)
    let free = key
    for (let n = 2; this.#items.has(free) && n < 1_000; n++) free = `${key.slice(0, 500)}#${n}`
    this.#items.set(free, { ...item, key: free })
  }

  get isFull(): boolean {
    return this.#items.size >= this.#limit
  }

  trouble(why: string): void {
    if (this.#troubles.length < 32) this.#troubles.push(why.slice(0, 300))
    else if (this.#troubles.length === 32) this.#troubles.push('and more')
  }

  reading(): Reading {
    const troubles =
      this.#over > 0 ? [...this.#troubles, `${this.#over} more than the limit of ${this.#limit}`] : this.#troubles
    return { items: [...this.#items.values()], troubles, leftOut: this.#over }
  }
}

function cutKey(key: string): string {
  return key.length <= 512 ? key : key.slice(0, 512).toWellFormed()
}
