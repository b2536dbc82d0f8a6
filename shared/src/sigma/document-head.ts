import type { Level, Status } from './rule.ts'

/** What rules and correlations have in common. */
export interface Head {
  readonly id: string | null
  readonly name: string | null
  readonly title: string
  readonly status: Status | null
  readonly level: Level | null
  readonly description: string
  readonly tags: readonly string[]
}
