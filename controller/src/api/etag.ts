/**
 * Lost updates: an edit names the version that it was made on. The tag covers what people edit, not what hosts keep changing (last
 * seen, counts), so an edit does not fail because a host said hello. Responses are `no-store`, so no cache relies on it.
 */
import { createHash } from 'node:crypto'
import { ProblemError } from './problem.ts'

export function etagOf(edited: Readonly<Record<string, unknown>>): string {
  return `"${createHash('sha256').update(JSON.stringify(edited)).digest('base64url').slice(0, 22)}"`
}

/** Source: RFC 9110, 13.1.1. */
export function checkIfMatch(ifMatch: string | undefined, current: string): void {
  if (ifMatch === undefined)
    throw new ProblemError(
      'precondition_required',
      'send If-Match with the ETag that you read, or * to write over everything',
    )
  if (ifMatch.trim() === '*') return
  if (!ifMatch.split(',').some((tag) => tag.trim() === current))
    throw new ProblemError('precondition_failed', 'read it again: somebody else changed it')
}
