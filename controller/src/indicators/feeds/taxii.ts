/**
 * TAXII 2.1 (OASIS Standard, 10 June 2021): from a discovery (4.1), an API root (4.2) or a collection (5.2) to the objects that were
 * added since the last time (5.4), page by page. All pages are there before anything of them is used.
 */
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import { type Details, type FeedRefusal, isJson, type Json, parseJson } from './entries.ts'
import { fetchFeed, type FetchLimits, type FetchRefusal } from './fetch-feed.ts'
import { stixObjects } from './stix.ts'

const MEDIA = 'application/taxii+json;version=2.1'
const PAGE = 1_000
const MAX_PAGES = 10_000
const MAX_ROOTS = 32

export interface TaxiiRequest {
  readonly url: string
  /** Id or title; needed where there is more than one. */
  readonly collection?: string
  readonly authorization?: string
  readonly addedAfter?: string
}
export type TaxiiRefusal = FetchRefusal | FeedRefusal | 'no_collection' | 'endless'

export interface TaxiiContent {
  /** `undefined`: nothing was added. */
  readonly content: FeedContent | undefined
  /** For the next time. */
  readonly addedAfter: string | undefined
}

export async function fetchTaxii(
  request: TaxiiRequest,
  defaults: Details,
  limits: FetchLimits,
  stop?: AbortSignal,
): Promise<Result<TaxiiContent, TaxiiRefusal>> {
  const client = new Client(request, limits, stop)
  const collection = await client.collection()
  if (!collection.ok) return collection
  const objects: unknown[] = []
  let addedAfter = request.addedAfter
  let after = request.addedAfter
  let next: string | undefined
  const asked = new Set<string>()
  for (let page = 0; page < MAX_PAGES; page++) {
    const url = new URL('objects/', collection.value)
    url.searchParams.set('limit', String(PAGE))
    url.searchParams.set('match[type]', 'indicator,marking-definition')
    if (after !== undefined) url.searchParams.set('added_after', after)
    if (next !== undefined) url.searchParams.set('next', next)
    if (asked.has(url.href)) return refuse('endless', 'it gives the same page again and again')
    asked.add(url.href)
    const answer = await client.get(url.href)
    if (!answer.ok) return answer
    const { body, headers } = answer.value
    if (body['objects'] !== undefined && !Array.isArray(body['objects']))
      return refuse('malformed', 'its objects are no list')
    objects.push(...(body['objects'] ?? []))
    addedAfter = headers['x-taxii-date-added-last'] ?? addedAfter
    if (body['more'] !== true) {
      if (objects.length === 0) return ok({ content: undefined, addedAfter })
      const content = stixObjects(objects, defaults)
      return content.ok ? ok({ content: content.value, addedAfter }) : content
    }
    // A server may page by `next`, or leave it to the date that was added last (5.4).
    next = typeof body['next'] === 'string' ? body['next'] : undefined
    if (next === undefined) after = addedAfter
  }
  return refuse('endless', `more than ${MAX_PAGES} pages`)
}

class Client {
  readonly #request: TaxiiRequest
  readonly #limits: FetchLimits
  readonly #stop: AbortSignal | undefined
  readonly #until: number
  #bytes = 0

  constructor(request: TaxiiRequest, limits: FetchLimits, stop: AbortSignal | undefined) {
    this.#request = request
    this.#limits = limits
    this.#stop = stop
    this.#until = performance.now() + limits.timeoutMs
  }

  /** The address of the collection, with a slash at its end. */
  async collection(): Promise<Result<string, TaxiiRefusal>> {
    const start = withSlash(this.#request.url)
    const answer = await this.get(start)
    if (!answer.ok) return answer
    const { body } = answer.value
    if (typeof body['id'] === 'string' && body['can_read'] !== undefined) return ok(start)
    const roots = Array.isArray(body['api_roots'])
      ? body['api_roots'].slice(0, MAX_ROOTS).map((root) => withSlash(new URL(String(root), start).href))
      : [start]
    const found: { readonly url: string; readonly title: string }[] = []
    for (const root of roots) {
      // The secret goes with the origin that it was given for.
      if (new URL(root).origin !== new URL(start).origin) continue
      const listed = await this.get(new URL('collections/', root).href)
      if (!listed.ok) return listed
      const list = Array.isArray(listed.value.body['collections']) ? listed.value.body['collections'] : []
      for (const one of list.filter(isJson)) {
        const { id, title, can_read: canRead } = one
        if (typeof id !== 'string' || canRead !== true) continue
        const wanted = this.#request.collection
        if (wanted === undefined || wanted === id || wanted === title)
          found.push({
            url: new URL(`collections/${encodeURIComponent(id)}/`, root).href,
            title: typeof title === 'string' ? title : id,
          })
      }
    }
    const [only, more] = found
    if (only && !more) return ok(only.url)
    return refuse(
      'no_collection',
      only
        ? `there are several collections; name one of: ${found
            .map(({ title }) => title)
            .join(', ')
            .slice(0, 500)}`
        : 'there is no such collection that may be read',
    )
  }

  async get(
    url: string,
  ): Promise<
    Result<{ readonly body: Json; readonly headers: Readonly<Record<string, string | undefined>> }, TaxiiRefusal>
  > {
    const timeoutMs = Math.max(1, this.#until - performance.now())
    const maxBytes = this.#limits.maxBytes - this.#bytes
    const { authorization } = this.#request
    const fetched = await fetchFeed(
      { url, accept: MEDIA, ...(authorization === undefined ? {} : { authorization }) },
      { maxBytes, timeoutMs },
      this.#stop,
    )
    if (!fetched.ok) return fetched
    const { text, headers } = fetched.value
    this.#bytes += text.length
    const type = headers['content-type'] ?? ''
    if (!/^application\/(taxii|stix|vnd\.oasis\.taxii)\+json/.test(type))
      return refuse(
        'not_this_format',
        `it answers with ${type === '' ? 'no type' : type.slice(0, 80)}, not with TAXII 2.1`,
      )
    const json = parseJson(text)
    if (!json.ok) return json
    return isJson(json.value) ? ok({ body: json.value, headers }) : refuse('malformed', 'the answer is no object')
  }
}

function withSlash(url: string): string {
  return url.endsWith('/') ? url : `${url}/`
}
