/** What goes wrong at a door, as RFC 9457 problem details with a code from one closed list. */
import type { Refused, Result } from '@firebreak/shared/result.ts'
import { Type } from 'typebox'
import type { TokenRefusal } from '../access/index.ts'
import type { OrderRefusal } from '../orders/orders.ts'

export const PROBLEM_TYPE = 'application/problem+json'

type DoorProblem =
  | 'bad_request'
  | 'bad_cursor'
  | 'malformed'
  | 'merged'
  | 'import_gap'
  | 'import_over'
  | 'precondition_failed'
  | 'precondition_required'
  | 'too_large'
  | 'unsupported_media_type'
  | 'rate_limited'
  | 'too_many_listeners'
  | 'bad_query'
  | 'several_processes'
  | 'search_too_long'
  | 'search_too_much'
  | 'too_many_searches'
  | 'backup_exists'
  | 'backup_running'
  | 'too_many_indicators'
  | 'import_empty'
  | 'bad_indicator'
  | 'feed_exists'
  | 'too_many_feeds'
  | 'not_ready'
  | 'internal'
export type ProblemCode = DoorProblem | TokenRefusal | OrderRefusal

export const PROBLEMS = {
  bad_request: { status: 400, title: 'The request does not have the documented shape' },
  bad_cursor: { status: 400, title: 'The cursor is not one that this list gave out' },
  malformed: { status: 400, title: 'The body is not JSON' },
  bad_query: { status: 400, title: 'The query is not one' },
  unauthenticated: { status: 401, title: 'A valid API token is needed' },
  token_expired: { status: 401, title: 'The API token has expired' },
  token_revoked: { status: 401, title: 'The API token was revoked' },
  forbidden: { status: 403, title: 'The role does not have this right' },
  not_found: { status: 404, title: 'There is no such thing' },
  unknown_host: { status: 404, title: 'No such host' },
  conflicting_key: { status: 409, title: 'The idempotency key was used for something else' },
  backup_exists: { status: 409, title: 'There is a backup of that name' },
  backup_running: { status: 409, title: 'A backup is being made' },
  merged: { status: 409, title: 'It lives on in another incident' },
  not_cancellable: { status: 409, title: 'The host has the command already' },
  protected_host: { status: 409, title: 'The host is protected' },
  revoked_host: { status: 409, title: 'The host was revoked' },
  imported_host: { status: 409, title: 'The host was imported and has no agent' },
  import_gap: { status: 409, title: 'Lines of the recording are missing in between' },
  feed_exists: { status: 409, title: 'There is a feed of that name' },
  too_many_feeds: { status: 409, title: 'There are too many feeds' },
  too_many_indicators: { status: 409, title: 'There are too many indicators' },
  import_empty: { status: 409, title: 'The import holds no indicator' },
  import_over: { status: 409, title: 'The recording was taken in to its end' },
  several_processes: { status: 409, title: 'Several processes had this pid' },
  precondition_failed: { status: 412, title: 'It was changed in the meantime' },
  too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'Only application/json is read' },
  bad_indicator: { status: 422, title: 'It is no indicator' },
  bad_args: { status: 422, title: 'The arguments do not fit the command' },
  search_too_long: { status: 422, title: 'The search took longer than it may' },
  search_too_much: { status: 422, title: 'The search found or needed more than it may' },
  precondition_required: { status: 428, title: 'An If-Match header is needed' },
  rate_limited: { status: 429, title: 'Too many requests' },
  too_many_searches: { status: 429, title: 'Too many searches at the same time' },
  internal: { status: 500, title: 'The controller failed' },
  not_ready: { status: 503, title: 'The controller is not ready' },
  too_many_listeners: { status: 503, title: 'Too many listeners' },
} as const satisfies Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>>

export const FieldError = Type.Object(
  {
    field: Type.String({ description: 'Path of the field, such as body.args.hold_s.' }),
    why: Type.String({ description: 'What is wrong with it.' }),
    column: Type.Optional(Type.Integer({ minimum: 1, description: 'Where in a text it is; the first is 1.' })),
    length: Type.Optional(Type.Integer({ minimum: 0, description: 'How many characters of it are meant.' })),
  },
  { additionalProperties: false },
)
export type FieldError = Type.Static<typeof FieldError>

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:firebreak:problem:<code>.' }),
    title: Type.String({ description: 'The same for every occurrence of the code.' }),
    status: Type.Integer({ description: 'HTTP status.' }),
    detail: Type.String({ description: 'What was wrong this time.' }),
    code: Type.String({ description: 'One of the documented codes; programs decide on this.' }),
    request_id: Type.String({ description: 'Also in the x-request-id header and in the log.' }),
    errors: Type.Optional(Type.Array(FieldError, { description: 'Fields that do not fit.' })),
  },
  { additionalProperties: false, description: 'RFC 9457 problem details.' },
)
export type Problem = Type.Static<typeof Problem>

/** A refusal on its way to the one place that answers with it. */
export class ProblemError extends Error {
  readonly code: ProblemCode
  readonly errors: readonly FieldError[]
  constructor(code: ProblemCode, why: string, errors: readonly FieldError[] = []) {
    super(why)
    this.name = 'ProblemError'
    this.code = code
    this.errors = errors
  }
}

export function problemOf(error: ProblemError, requestId: string): Problem {
  const { status, title } = PROBLEMS[error.code]
  return {
    type: `urn:firebreak:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    ...(error.errors.length > 0 ? { errors: [...error.errors] } : {}),
  }
}

/** The value of a result, or its refusal as the answer to the request. */
export function valueOf<T>(result: Result<T, ProblemCode>): T {
  if (result.ok) return result.value
  throw asProblem(result)
}

export function asProblem(refused: Refused<ProblemCode>): ProblemError {
  return new ProblemError(refused.code, refused.why)
}

export function notFound(what: string): ProblemError {
  return new ProblemError('not_found', what)
}
