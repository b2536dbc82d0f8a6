import type { PlaybookProblem } from './playbook.ts'

export type { Facts } from './facts.ts'
export type { PlaybookProblem } from './playbook.ts'
export type { LintReport } from './playbook-lint.ts'

export interface PlaybookStatus {
  readonly id: string
  readonly title: string
  readonly version: number
  readonly file: string
  readonly sha256: string
}

export interface PlaybooksHealth {
  readonly ready: boolean
  readonly live: number
  readonly problems: readonly PlaybookProblem[]
  readonly why?: string
}

export interface Respond {
  /** Loads the playbooks, goes on with the runs that a crash has left, and looks for incidents without a run. */
  start(): Promise<void>
  /** After the steps at hand; runs that wait go on at the next start. */
  stop(): Promise<void>
  /** All or nothing: with one unusable file the playbooks before stay in force. */
  reloadPlaybooks(): Promise<PlaybooksHealth>
  playbooksHealth(): PlaybooksHealth
  playbookList(): readonly PlaybookStatus[]
  /** Resolves when no incident and no run is left that could go on by itself. */
  idle(): Promise<void>
}
