/** The one place where a request's failure becomes an answer. */
import { reasonOf } from '@firebreak/shared/result.ts'
import type { FastifyError, FastifyReply } from 'fastify'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { PROBLEM_TYPE, ProblemError, problemOf, PROBLEMS } from './problem.ts'

export function answerFailures(api: Api, { log }: Pick<ApiDeps, 'log'>): void {
  api.setErrorHandler(async (error: FastifyError | ProblemError, request, reply) => {
    const problem = asProblem(error)
    if (problem.code === 'internal')
      log.error(
        { err: error, request_id: request.id, method: request.method, route: request.routeOptions.url },
        'api.request.failed',
      )
    return await answer(reply, problem)
  })
  api.setNotFoundHandler(async (request, reply) => {
    return await answer(
      reply,
      new ProblemError('not_found', `no route ${request.method} ${request.url.split('?')[0]?.slice(0, 200)}`),
    )
  })
}

async function answer(reply: FastifyReply, error: ProblemError): Promise<FastifyReply> {
  if (PROBLEMS[error.code].status === 401) reply.header('www-authenticate', 'Bearer realm="firebreak"')
  return await reply
    .code(PROBLEMS[error.code].status)
    .type(PROBLEM_TYPE)
    .serializer((body) => JSON.stringify(body))
    .send(problemOf(error, reply.request.id))
}

function asProblem(error: FastifyError | ProblemError): ProblemError {
  if (error instanceof ProblemError) return error
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError('too_large', 'send less, or in parts')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError('unsupported_media_type', 'send application/json')
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ProblemError('malformed', reasonOf(error))
    default:
  }
  if (error.statusCode === 429) return new ProblemError('rate_limited', error.message)
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new ProblemError('bad_request', error.message)
  return new ProblemError('internal', 'the controller has logged the cause under the request id')
}
