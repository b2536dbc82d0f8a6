/** STIX 2.0 and 2.1: the indicators of a bundle or of a TAXII envelope. Source: STIX 2.1, 4.7 (Indicator), 7.2 (markings). */
import { parsePattern } from '@firebreak/shared/stix/parse-pattern.ts'
import { valuesOfPattern } from '@firebreak/shared/stix/pattern-values.ts'
import { type Result, refuse } from '@firebreak/shared/result.ts'
import type { FeedContent, Tlp } from '../index.ts'
import {
  confidenceOf,
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

/** Ids that the standards fix for TLP 1.0 (STIX 2.1, 7.2.1.4) and 2.0 (OASIS, tlp-2.0 extension). */
const MARKINGS: Readonly<Record<string, Tlp>> = {
  'marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9': 'clear',
  'marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da': 'green',
  'marking-definition--f88d31f6-486f-44da-b317-01333bde0b82': 'amber',
  'marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed': 'red',
  'marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487': 'clear',
  'marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb': 'green',
  'marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421': 'amber',
  'marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003': 'amber+strict',
  'marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1': 'red',
}

export function parseStix(text: string, defaults: Details): Result<FeedContent, FeedRefusal> {
  const json = parseJson(text)
  if (!json.ok) return json
  const { value } = json
  const objects =
    isJson(value) && Array.isArray(value['objects']) ? value['objects'] : Array.isArray(value) ? value : undefined
  if (!objects) return refuse('not_this_format', 'it is no STIX bundle: it has no objects')
  return stixObjects(objects, defaults)
}

export function stixObjects(objects: readonly unknown[], defaults: Details): Result<FeedContent, FeedRefusal> {
  const entries = new Entries()
  const markings = new Map(Object.entries(MARKINGS))
  for (const object of objects)
    if (isJson(object) && object['type'] === 'marking-definition') {
      const definition = isJson(object['definition']) ? object['definition']['tlp'] : object['name']
      const tlp = typeof definition === 'string' ? tlpOf(definition) : undefined
      if (tlp) markings.set(String(object['id']), tlp)
    }
  for (const object of objects) {
    if (!isJson(object)) entries.refuse('malformed', JSON.stringify(object)?.slice(0, 80) ?? '')
    else if (object['type'] === 'indicator') indicator(object, entries, markings, defaults)
    else entries.refuse('not_an_indicator', String(object['type']).slice(0, 80))
    if (entries.isTooLarge) break
  }
  return entries.content()
}

function indicator(object: Json, entries: Entries, markings: ReadonlyMap<string, Tlp>, defaults: Details): void {
  const { id, pattern, pattern_type: patternType } = object
  if (typeof id !== 'string' || id.length > 128 || typeof pattern !== 'string') {
    entries.refuse('malformed', `an indicator without id or pattern: ${String(id).slice(0, 80)}`)
    return
  }
  if (object['revoked'] === true) {
    entries.revoke(id)
    return
  }
  const kept = (code: string, why: string) =>
    entries.keep({ reference: id, pattern: pattern.slice(0, 65_536), code, why: why.slice(0, 500) })
  if (patternType !== undefined && patternType !== 'stix') {
    kept('other_language', `its pattern is written in ${shortText(patternType)?.slice(0, 40) ?? 'no known language'}`)
    return
  }
  const parsed = parsePattern(pattern)
  if (!parsed.ok) {
    kept(parsed.code, parsed.why)
    return
  }
  const values = valuesOfPattern(parsed.value)
  if (!values.ok) {
    kept(values.code, values.why)
    return
  }
  const details = { ...defaults, ...detailsOf(object, markings), reference: id }
  // Already in its one spelling; a digest of 32 figures may be a JA3.
  for (const { type, value } of values.value) entries.add(value, type, details)
}

function detailsOf(object: Json, markings: ReadonlyMap<string, Tlp>): Details {
  const validFrom = timeText(shortText(object['valid_from']) ?? '')
  const validUntil = timeText(shortText(object['valid_until']) ?? '')
  const confidence = confidenceOf(object['confidence'])
  const refs = Array.isArray(object['object_marking_refs']) ? object['object_marking_refs'] : []
  const tlp = refs.map((ref) => markings.get(String(ref))).find((one) => one !== undefined)
  const labels = [object['labels'], object['indicator_types']].flatMap((list) =>
    Array.isArray(list) ? list.map(String) : [],
  )
  const description = shortText(object['description']) ?? shortText(object['name'])
  return {
    ...(validFrom === undefined ? {} : { validFrom }),
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(confidence === undefined ? {} : { confidence }),
    ...(tlp === undefined ? {} : { tlp }),
    ...(labels.length === 0 ? {} : { labels: labels.slice(0, 64) }),
    ...(description === undefined ? {} : { description }),
  }
}
