/** What can be expected goes back as a value; what cannot is thrown. Codes are closed lists and the same in receipts, API and documentation. */
export type Ok<T> = { readonly ok: true; readonly value: T }
export type Refused<Code extends string> = { readonly ok: false; readonly code: Code; readonly why: string }
export type Result<T, Code extends string> = Ok<T> | Refused<Code>

export function ok(): Ok<void>
export function ok<T>(value: T): Ok<T>
export function ok<T>(value?: T): Ok<T | undefined> {
  return { ok: true, value }
}

export function refuse<Code extends string>(code: Code, why: string): Refused<Code> {
  return { ok: false, code, why }
}

/** A bug or a lost resource: thrown, with a code that a program can read and the cause that a person needs. */
export class Fault extends Error {
  readonly code: string
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'Fault'
    this.code = code
  }
}

/** The message of anything that was thrown, for a log line or a `why`. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
