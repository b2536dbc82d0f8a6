/** A feed of MISP: manifest.json names the events and when each changed last; those that are newer than the last time are fetched. */
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import { type Details, Entries, type FeedRefusal, isJson, parseJson } from './entries.ts'
import { fetchFeed, type FetchLimits, type FetchRefusal } from './fetch-feed.ts'
import { mispEvent } from './misp.ts'

const MAX_EVENTS = 20_000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export async function fetchMispFeed(
  request: { readonly url: string; readonly authorization?: string; readonly addedAfter?: string },
  defaults: Details,
  limits: FetchLimits,
  stop?: AbortSignal,
): Promise<
  Result<
    { readonly content: FeedContent | undefined; readonly addedAfter: string | undefined },
    FetchRefusal | FeedRefusal
  >
> {
  const until = performance.now() + limits.timeoutMs
  let left = limits.maxBytes
  const base = request.url.endsWith('/')
    ? request.url
    : request.url.replace(/manifest\.json$/, '').replace(/([^/])$/, '$1/')
  const get = async (name: string) => {
    const { authorization } = request
    const fetched = await fetchFeed(
      {
        url: new URL(name, base).href,
        accept: 'application/json',
        ...(authorization === undefined ? {} : { authorization }),
      },
      { maxBytes: left, timeoutMs: Math.max(1, until - performance.now()) },
      stop,
    )
    if (!fetched.ok) return fetched
    left -= fetched.value.text.length
    return parseJson(fetched.value.text)
  }
  const manifest = await get('manifest.json')
  if (!manifest.ok) return manifest
  if (!isJson(manifest.value)) return refuse('not_this_format', 'the manifest is no object')
  const since = Number(request.addedAfter ?? 0)
  const changed: { readonly uuid: string; readonly at: number }[] = []
  for (const [uuid, about] of Object.entries(manifest.value)) {
    const at = isJson(about) ? Number(about['timestamp']) : Number.NaN
    if (!UUID.test(uuid) || !(at >= 0))
      return refuse('malformed', `the manifest has an entry ${JSON.stringify(uuid.slice(0, 80))} that is no event`)
    if (at > since) changed.push({ uuid, at })
  }
  if (changed.length > MAX_EVENTS)
    return refuse('too_large', `${changed.length} events; at most ${MAX_EVENTS} are taken at once`)
  const entries = new Entries()
  for (const { uuid } of changed) {
    const event = await get(`${uuid}.json`)
    if (!event.ok) return event
    const inside = isJson(event.value) ? event.value['Event'] : undefined
    if (!isJson(inside)) return refuse('malformed', `${uuid}.json has no Event`)
    mispEvent(inside, entries, defaults)
  }
  const addedAfter = changed.length === 0 ? request.addedAfter : String(Math.max(...changed.map(({ at }) => at)))
  if (changed.length === 0) return ok({ content: undefined, addedAfter })
  const content = entries.content()
  return content.ok ? ok({ content: content.value, addedAfter }) : content
}
