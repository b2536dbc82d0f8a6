/** Speaks to the API of a controller. Failures come back as `CliError` with the exit code that belongs to them. */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { type RequestOptions, request as httpsRequest } from 'node:https'
import type { PeerCertificate } from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { FieldError, Problem } from '../api/problem.ts'
import { CliError, exitOfProblem } from './exit-codes.ts'
import { safeText } from './terminal-text.ts'

const MAX_ANSWER_BYTES = 64 * 1024 * 1024
const TIMEOUT_MS = 30_000
const MAX_PAGES = 1_000

export interface Target {
  readonly url: URL
  readonly token: string
  /** Certificate of the controller, PEM: exactly this one is believed. Without it the system's authorities are. */
  readonly certificate?: string
}

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

export interface Answer<T> {
  readonly body: T
  readonly etag: string | undefined
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | null
}

export class ApiClient {
  readonly target: Target
  constructor(target: Target) {
    this.target = target
  }

  async get<T>(path: string, query: Query = {}): Promise<T> {
    return (await this.read<T>(path, query)).body
  }

  /** With the ETag that an edit has to name. */
  async read<T>(path: string, query: Query = {}): Promise<Answer<T>> {
    return await this.#send<T>('GET', path, query)
  }

  async post<T>(
    path: string,
    body: unknown,
    query: Query = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<T> {
    return (await this.#send<T>('POST', path, query, body, headers)).body
  }

  async patch<T>(path: string, body: unknown, etag: string): Promise<T> {
    return (await this.#send<T>('PATCH', path, {}, body, { 'if-match': etag })).body
  }

  async delete<T>(path: string): Promise<T> {
    return (await this.#send<T>('DELETE', path, {})).body
  }

  /** Pages until there are `limit` entries or no more. */
  async list<T>(path: string, query: Query, limit: number): Promise<T[]> {
    return (await this.listWith<Page<T>>(path, query, limit)).items
  }

  /** The same, with the first page, for what else it says. */
  async listWith<Of extends Page<unknown>>(
    path: string,
    query: Query,
    limit: number,
  ): Promise<{ readonly items: Of['items'][number][]; readonly first: Of | undefined }> {
    const items: Of['items'][number][] = []
    let first: Of | undefined
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const size = Math.min(500, limit - items.length)
      const got = await this.get<Of>(path, { ...query, limit: size, cursor })
      first ??= got
      items.push(...got.items)
      if (got.next === null || items.length >= limit) break
      cursor = got.next
    }
    return { items, first }
  }

  /** The body as it comes in, for exports. */
  async stream(path: string, query: Query = {}, timeoutMs = TIMEOUT_MS): Promise<IncomingMessage> {
    const response = await this.#open('GET', path, query, undefined, {}, timeoutMs)
    if ((response.statusCode ?? 0) >= 400) throw problemError(response.statusCode ?? 0, await textOf(response), query)
    return response
  }

  async #send<T>(
    method: string,
    path: string,
    query: Query,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer<T>> {
    const response = await this.#open(method, path, query, body, headers)
    const text = await textOf(response)
    if ((response.statusCode ?? 0) >= 400) throw problemError(response.statusCode ?? 0, text, query)
    return { body: parse(text) as T, etag: response.headers.etag }
  }

  #open(
    method: string,
    path: string,
    query: Query,
    body: unknown,
    headers: Readonly<Record<string, string>>,
    timeoutMs = TIMEOUT_MS,
  ): Promise<IncomingMessage> {
    const url = new URL(path, this.target.url)
    for (const [name, value] of Object.entries(query)) {
      if (value === undefined) continue
      if (typeof value === 'object') for (const one of value) url.searchParams.append(name, one)
      else url.searchParams.set(name, String(value))
    }
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const options: RequestOptions = {
      method,
      timeout: timeoutMs,
      headers: {
        authorization: `Bearer ${this.target.token}`,
        accept: 'application/json',
        'user-agent': 'firebreak-cli',
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        ...headers,
      },
      ...(url.protocol === 'https:' ? tlsOptions(this.target.certificate) : {}),
    }
    return new Promise((resolve, reject) => {
      const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, resolve)
      request.once('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
      request.once('error', (error) => {
        const where = `${url.protocol}//${url.host}`
        reject(
          new CliError('unreachable', `no controller answers at ${where}: ${reasonOf(error) || 'connection failed'}`),
        )
      })
      request.end(payload)
    })
  }
}

/** The controller's certificate is self-signed and known: it is believed by its key, not by its name. */
function tlsOptions(certificate: string | undefined): RequestOptions {
  if (certificate === undefined) return { minVersion: 'TLSv1.3' }
  const known = new X509Certificate(certificate).fingerprint256
  return {
    minVersion: 'TLSv1.3',
    ca: certificate,
    checkServerIdentity: (_host: string, peer: PeerCertificate) =>
      peer.fingerprint256 === known ? undefined : new Error('the certificate is not the one of this controller'),
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response) {
      const part = Buffer.from(chunk as Uint8Array)
      bytes += part.length
      if (bytes > MAX_ANSWER_BYTES) throw new CliError('failed', 'the answer is larger than 64 MiB; ask for less')
      chunks.push(part)
    }
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown
    throw new CliError('unreachable', `the controller broke off: ${reasonOf(thrown)}`)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new CliError('failed', 'that is not the API of a Firebreak controller: the answer is not JSON')
  }
}

function problemError(status: number, text: string, query: Query): CliError {
  let problem: Partial<Problem>
  try {
    problem = JSON.parse(text) as Partial<Problem>
  } catch {
    problem = {}
  }
  if (typeof problem.code !== 'string') return new CliError('failed', `the controller answered ${status}`)
  const detail = problem.detail ?? problem.title ?? ''
  const fields = (problem.errors ?? []).map((error) => {
    const place = placeIn(query['query'], error)
    return `${detail.endsWith(error.why) ? '' : `\n  ${safeText(error.field)}: ${safeText(error.why)}`}${place}`
  })
  const message = `${safeText(detail)} [${safeText(problem.code)}, request ${safeText(problem.request_id ?? '-')}]${fields.join('')}`
  return new CliError(exitOfProblem(problem.code), message, problem.code)
}

const AROUND = 30

/** The text with a mark under the place that is wrong. */
function placeIn(text: Query[string], { column, length = 1 }: FieldError): string {
  if (typeof text !== 'string' || column === undefined) return ''
  const from = column - 1
  const before = safeText(`${from > AROUND ? '…' : ''}${text.slice(Math.max(0, from - AROUND), from)}`)
  const meant = safeText(text.slice(from, from + Math.min(length, AROUND)))
  const after = safeText(text.slice(from + Math.min(length, AROUND), from + length + AROUND))
  return `\n  ${before}${meant}${after}\n  ${' '.repeat(before.length)}${'^'.repeat(Math.max(1, meant.length))}`
}
