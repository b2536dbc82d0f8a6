/** How `firebreak` ends: one table for the code, the help and the documentation. */
import { type CommandState, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import type { ProblemCode } from '../api/problem.ts'

export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done; for orders: the effect was seen by a probe' },
  failed: { code: 1, meaning: 'it was tried and failed, or was cancelled or taken back' },
  usage: { code: 2, meaning: 'wrong arguments or configuration; nothing was done' },
  not_found: { code: 3, meaning: 'no such host, incident, command ...' },
  refused: { code: 4, meaning: 'refused by policy: a protected host, a ceiling, a rule of the controller' },
  auth: { code: 5, meaning: 'no valid token, or its role lacks the right' },
  unreachable: { code: 6, meaning: 'no controller answers' },
  timed_out: { code: 7, meaning: 'not finished in the time given; an order goes on, see `firebreak commands show`' },
  partial: { code: 8, meaning: 'some of it was done' },
  refuted: { code: 9, meaning: 'the host did it, and a probe saw that it has no effect' },
  unknown: { code: 10, meaning: 'the host did not answer by the deadline: the effect is unknown' },
} as const satisfies Readonly<Record<string, { readonly code: number; readonly meaning: string }>>
export type Exit = keyof typeof EXIT_CODES

export function exitCodesText(): string {
  return Object.values(EXIT_CODES)
    .map(({ code, meaning }) => `  ${String(code).padStart(2)}  ${meaning}`)
    .join('\n')
}

/** Ends the command line with a message for a person and a number for a program. */
export class CliError extends Error {
  readonly exit: Exit
  /** What the controller called it, where it said so. */
  readonly problem: string | undefined
  constructor(exit: Exit, message: string, problem?: string) {
    super(message)
    this.name = 'CliError'
    this.exit = exit
    this.problem = problem
  }
}

export const EXIT_OF_PROBLEM = {
  bad_request: 'usage',
  bad_cursor: 'usage',
  bad_args: 'usage',
  malformed: 'usage',
  too_large: 'usage',
  unsupported_media_type: 'usage',
  precondition_required: 'usage',
  unauthenticated: 'auth',
  token_expired: 'auth',
  token_revoked: 'auth',
  forbidden: 'auth',
  not_found: 'not_found',
  unknown_host: 'not_found',
  protected_host: 'refused',
  revoked_host: 'refused',
  imported_host: 'refused',
  import_gap: 'failed',
  import_over: 'failed',
  not_cancellable: 'refused',
  conflicting_key: 'failed',
  merged: 'failed',
  backup_exists: 'failed',
  backup_running: 'failed',
  precondition_failed: 'failed',
  rate_limited: 'failed',
  internal: 'failed',
  not_ready: 'failed',
  too_many_listeners: 'failed',
  bad_indicator: 'usage',
  too_many_indicators: 'refused',
  import_empty: 'refused',
  feed_exists: 'failed',
  too_many_feeds: 'refused',
  bad_query: 'usage',
  several_processes: 'usage',
  search_too_long: 'timed_out',
  search_too_much: 'failed',
  too_many_searches: 'failed',
} as const satisfies Readonly<Record<ProblemCode, Exit>>

export function exitOfProblem(code: string): Exit {
  return Object.hasOwn(EXIT_OF_PROBLEM, code) ? EXIT_OF_PROBLEM[code as ProblemCode] : 'failed'
}

/** What a waiting command line says about the state it found. */
export function exitOfState(state: CommandState): Exit {
  if (!FINAL_STATES.has(state)) return 'timed_out'
  switch (state) {
    case 'verified':
      return 'ok'
    case 'refuted':
      return 'refuted'
    case 'refused':
      return 'refused'
    case 'expired':
      return 'timed_out'
    case 'unknown':
      return 'unknown'
    default:
      return 'failed'
  }
}
