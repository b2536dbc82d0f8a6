/**
 * One answer of a server that nobody here runs: bounded in bytes (also unpacked), in time (in all, so that a slow one cannot hold a
 * fetch for ever by sending a byte a minute) and in redirects. What ends before it said it would is truncated, not short.
 */
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { createGunzip } from 'node:zlib'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'

export type FetchRefusal =
  | 'bad_url'
  | 'unreachable'
  | 'bad_status'
  | 'unauthorized'
  | 'too_large'
  | 'too_slow'
  | 'too_many_redirects'
  | 'truncated'
  | 'insecure'

export interface FetchLimits {
  readonly maxBytes: number
  /** For all of it. */
  readonly timeoutMs: number
}
export interface FetchRequest {
  readonly url: string
  readonly accept?: string
  /** Value of the `Authorization` header; it is never sent in the clear to another machine, nor to another origin. */
  readonly authorization?: string
}
export interface Fetched {
  readonly text: string
  readonly headers: Readonly<Record<string, string | undefined>>
}

const MAX_REDIRECTS = 3
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

export async function fetchFeed(
  { url, accept, authorization }: FetchRequest,
  { maxBytes, timeoutMs }: FetchLimits,
  stop?: AbortSignal,
): Promise<Result<Fetched, FetchRefusal>> {
  const first = URL.parse(url)
  if (!first || !/^https?:$/.test(first.protocol)) return refuse('bad_url', `${url.slice(0, 200)} is no http(s) URL`)
  const timeout = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))
  const signal = stop ? AbortSignal.any([stop, timeout]) : timeout
  let at = first
  try {
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const secret = at.origin === first.origin ? authorization : undefined
      if (secret !== undefined && at.protocol === 'http:' && !LOOPBACK.has(at.hostname))
        return refuse('insecure', `a secret is not sent in the clear to ${at.host}; use https`)
      const response = await open(at, accept, secret, signal)
      const status = response.statusCode ?? 0
      const location = response.headers.location
      if (status >= 300 && status < 400 && location !== undefined) {
        response.destroy()
        const next = URL.parse(location, at)
        if (!next || !/^https?:$/.test(next.protocol))
          return refuse('bad_url', 'it redirects to what is no http(s) URL')
        if (at.protocol === 'https:' && next.protocol === 'http:')
          return refuse('insecure', 'it redirects from https to http')
        at = next
        continue
      }
      if (status !== 200) {
        response.destroy()
        return status === 401 || status === 403
          ? refuse('unauthorized', `${at.host} answered ${status}`)
          : refuse('bad_status', `${at.host} answered ${status}`)
      }
      return await bodyOf(response, maxBytes, timeout)
    }
    return refuse('too_many_redirects', `more than ${MAX_REDIRECTS} redirects`)
  } catch (thrown) {
    if (timeout.aborted) return refuse('too_slow', `not whole after ${timeoutMs / 1_000} s`)
    return refuse('unreachable', `${at.host}: ${reasonOf(thrown)}`)
  }
}

function open(
  url: URL,
  accept: string | undefined,
  authorization: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
      url,
      {
        signal,
        headers: {
          'user-agent': 'firebreak',
          'accept-encoding': 'gzip',
          accept: accept ?? '*/*',
          ...(authorization === undefined ? {} : { authorization }),
        },
      },
      resolve,
    )
    request.once('error', reject)
    request.end()
  })
}

async function bodyOf(
  response: IncomingMessage,
  maxBytes: number,
  timeout: AbortSignal,
): Promise<Result<Fetched, FetchRefusal>> {
  const said = Number(response.headers['content-length'])
  if (said > maxBytes) {
    response.destroy()
    return refuse('too_large', `${said} bytes; at most ${maxBytes} are taken`)
  }
  const gzip = response.headers['content-encoding'] === 'gzip'
  const source = gzip ? response.pipe(createGunzip()) : response
  if (gzip) response.once('error', (error) => source.destroy(error))
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of source) {
      const part = Buffer.from(chunk as Uint8Array)
      bytes += part.length
      if (bytes > maxBytes) {
        response.destroy()
        return refuse('too_large', `more than ${maxBytes} bytes`)
      }
      chunks.push(part)
    }
  } catch (thrown) {
    if (timeout.aborted) throw thrown
    const { code } = thrown as { readonly code?: unknown }
    if (code === 'ECONNRESET' || code === 'Z_BUF_ERROR') return refuse('truncated', 'it ended before it was whole')
    throw thrown
  }
  if (!response.complete) return refuse('truncated', 'it ended before it was whole')
  const headers = Object.fromEntries(
    Object.entries(response.headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  )
  return ok({ text: Buffer.concat(chunks).toString('utf8'), headers })
}
