import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { ReadAs, RecordingLine, RecordRefusal } from '@firebreak/shared/recordings/recording.ts'

export interface NewImport {
  readonly fileName: string
  /** Of the decompressed file: the same content is the same recording, however it is packed and called. */
  readonly fileSha256: string
  readonly readAs: ReadAs
  /** Gives all records to this host; empty: each names its own. */
  readonly host: string
  readonly shiftMs: number | null
  /** Take it in once more although it was taken in to its end. */
  readonly again: boolean
}

export interface RefusedCount {
  readonly code: RecordRefusal
  readonly records: number
  /** The first of them. */
  readonly examples: readonly { readonly line: number; readonly why: string }[]
}

export interface ImportView {
  readonly id: string
  readonly fileName: string
  readonly fileSha256: string
  readonly readAs: string
  readonly host: string
  readonly attempt: number
  readonly shiftMs: number | null
  readonly state: 'running' | 'complete'
  /** Lines taken so far. */
  readonly lines: number
  /** Records among them: stored and refused. */
  readonly records: number
  readonly storedRecords: number
  readonly storedEvents: number
  readonly refused: readonly RefusedCount[]
  readonly hosts: readonly { readonly agentId: AgentId; readonly hostname: string; readonly events: number }[]
  readonly createdBy: string
  readonly createdAt: string
  readonly updatedAt: string
  readonly endedAt: string | null
}

export const IMPORT_REFUSALS = ['not_found', 'import_gap', 'import_over', 'not_ready'] as const
export type ImportRefusal = (typeof IMPORT_REFUSALS)[number]

/** Recordings taken in as if hosts had sent them. What was taken is durable when a call resolves, and is taken once. */
export interface Imports {
  /** A new one, the one that was not finished, or the one that was, when the same file came before. */
  begin(wanted: NewImport, actor: string): Promise<ImportView>
  /**
   * The next lines. Those that were taken before are passed over, so that a caller who got no answer asks again. `not_ready`: too
   * much waits for detection or the stores, ask again later; agents go first.
   */
  take(id: string, firstLine: number, lines: readonly RecordingLine[]): Promise<Result<ImportView, ImportRefusal>>
  /** The file is at its end after so many lines. */
  complete(id: string, lines: number, actor: string): Promise<Result<ImportView, ImportRefusal>>
  get(id: string): Promise<ImportView | undefined>
  list(limit: number): Promise<readonly ImportView[]>
  /** Waits for room no longer. */
  stop(): void
}
