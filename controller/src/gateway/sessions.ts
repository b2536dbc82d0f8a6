/** One live connection for one agent: a new one closes the old. When that happens again and again, two hosts hold one key. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { AgentSession } from './agent-session.ts'

const FLAP_WINDOW_MS = 60_000
/** More than so many replacements within the window are no bad network any more. */
const MAX_REPLACEMENTS = 3

export class Sessions {
  readonly #live = new Map<AgentId, AgentSession>()
  readonly #replaced = new Map<AgentId, number[]>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /** Returns the one that it takes the place of, and whether the key looks cloned. */
  put(session: AgentSession): { readonly old: AgentSession | undefined; readonly cloned: boolean } {
    const old = this.#live.get(session.agentId)
    this.#live.set(session.agentId, session)
    if (!old) return { old, cloned: false }
    const now = this.#now()
    const times = [...(this.#replaced.get(session.agentId) ?? []), now].filter((at) => now - at < FLAP_WINDOW_MS)
    this.#replaced.set(session.agentId, times)
    return { old, cloned: times.length > MAX_REPLACEMENTS }
  }

  /** False when another one has taken its place already. */
  delete(session: AgentSession): boolean {
    if (this.#live.get(session.agentId) !== session) return false
    this.#live.delete(session.agentId)
    return true
  }

  get(agentId: AgentId): AgentSession | undefined {
    return this.#live.get(agentId)
  }

  all(): readonly AgentSession[] {
    return [...this.#live.values()]
  }

  /** Forgets replacements that are long past. */
  tidy(): void {
    const now = this.#now()
    for (const [agentId, times] of this.#replaced)
      if (times.every((at) => now - at >= FLAP_WINDOW_MS)) this.#replaced.delete(agentId)
  }

  size(): number {
    return this.#live.size
  }
}
