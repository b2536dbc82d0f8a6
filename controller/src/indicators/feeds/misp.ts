/** Events of MISP, one or a whole answer of its search: the attributes that are marked for detection (`to_ids`). Source: MISP core format. */
import type { ObservableType } from '@firebreak/shared/indicators/observable.ts'
import { type Result, refuse } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import {
  type Details,
  Entries,
  type FeedRefusal,
  isJson,
  type Json,
  parseJson,
  shortText,
  timeText,
  tlpOf,
} from './entries.ts'

/** Attribute type → which of the parts between `|` are values, and as what; `any`: its form tells. */
const TYPES: Readonly<Record<string, readonly (ObservableType | 'any' | null)[]>> = {
  'ip-src': ['any'],
  'ip-dst': ['any'],
  'ip-src|port': ['any', null],
  'ip-dst|port': ['any', null],
  domain: ['domain'],
  hostname: ['domain'],
  'hostname|port': ['domain', null],
  'domain|ip': ['domain', 'any'],
  url: ['url'],
  uri: ['url'],
  md5: ['md5'],
  sha1: ['sha1'],
  sha256: ['sha256'],
  'filename|md5': [null, 'md5'],
  'filename|sha1': [null, 'sha1'],
  'filename|sha256': [null, 'sha256'],
  'malware-sample': [null, 'md5'],
  'ja3-fingerprint-md5': ['ja3'],
  'email-src': ['email'],
  'email-dst': ['email'],
  email: ['email'],
  'email-reply-to': ['email'],
}

export function parseMisp(text: string, defaults: Details): Result<FeedContent, FeedRefusal> {
  const json = parseJson(text)
  if (!json.ok) return json
  const events = eventsOf(json.value)
  if (!events) return refuse('not_this_format', 'it is no event of MISP: there is no Event in it')
  const entries = new Entries()
  for (const event of events) mispEvent(event, entries, defaults)
  return entries.content()
}

function eventsOf(value: unknown): Json[] | undefined {
  const list = Array.isArray(value)
    ? value
    : isJson(value) && Array.isArray(value['response'])
      ? value['response']
      : [value]
  const events = list.map((one) => (isJson(one) ? one['Event'] : undefined)).filter(isJson)
  return events.length > 0 ? events : undefined
}

export function mispEvent(event: Json, entries: Entries, defaults: Details): void {
  const of = { tags: tagsOf(event), info: shortText(event['info']) }
  const objects = Array.isArray(event['Object']) ? event['Object'].filter(isJson) : []
  for (const holder of [event, ...objects]) {
    if (holder['deleted'] === true) continue
    const attributes = Array.isArray(holder['Attribute']) ? holder['Attribute'] : []
    for (const attribute of attributes) {
      if (entries.isTooLarge) return
      if (isJson(attribute)) mispAttribute(attribute, of, entries, defaults)
      else entries.refuse('malformed', 'an attribute that is none')
    }
  }
}

function mispAttribute(
  attribute: Json,
  of: { readonly tags: readonly string[]; readonly info: string | undefined },
  entries: Entries,
  defaults: Details,
): void {
  const { type, value, uuid } = attribute
  if (typeof type !== 'string' || typeof value !== 'string') {
    entries.refuse('malformed', `an attribute without type or value: ${String(uuid).slice(0, 80)}`)
    return
  }
  const reference = shortText(uuid)
  if (attribute['deleted'] === true) {
    if (reference !== undefined) entries.revoke(reference)
    return
  }
  const parts = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (!parts) {
    entries.refuse('unsupported_type', `${type} ${value}`)
    return
  }
  if (attribute['to_ids'] !== true) {
    entries.refuse('not_for_detection', `${type} ${value}`)
    return
  }
  const tags = [...of.tags, ...tagsOf(attribute)]
  const tlp = tags.map(tlpOf).findLast((one) => one !== undefined)
  const description = shortText(
    [of.info, shortText(attribute['comment'])].filter((text) => text !== undefined).join(': '),
  )
  const validFrom = timeText(shortText(attribute['first_seen']) ?? '')
  const details: Details = {
    ...defaults,
    ...(tlp === undefined ? {} : { tlp }),
    ...(tags.length === 0 ? {} : { labels: tags.slice(0, 64) }),
    ...(description === undefined ? {} : { description }),
    ...(reference === undefined ? {} : { reference }),
    ...(validFrom === undefined ? {} : { validFrom }),
  }
  const values = value.split('|')
  for (const [at, part] of parts.entries())
    if (part !== null) entries.add(values[at] ?? '', part === 'any' ? undefined : part, details)
}

function tagsOf(holder: Json): string[] {
  const tags = Array.isArray(holder['Tag']) ? holder['Tag'] : []
  return tags.flatMap((tag) => (isJson(tag) && typeof tag['name'] === 'string' ? [tag['name'].slice(0, 200)] : []))
}
