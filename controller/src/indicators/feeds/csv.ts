/** CSV as RFC 4180 has it (also with `;` or tabs), with a line of names first. Which column is what is told, or read off the names. */
import { OBSERVABLE_TYPES, type ObservableType } from '@firebreak/shared/indicators/observable.ts'
import { type Result, refuse } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import { confidenceOf, type Details, Entries, type FeedRefusal, shortText, timeText, tlpOf } from './entries.ts'

export const CSV_COLUMNS = [
  'value',
  'type',
  'confidence',
  'valid_from',
  'valid_until',
  'tlp',
  'labels',
  'description',
  'reference',
] as const
export type CsvColumn = (typeof CSV_COLUMNS)[number]
/** What it is → the name of the column. */
export type CsvMapping = Partial<Readonly<Record<CsvColumn, string>>>

const USUAL: Readonly<Record<CsvColumn, readonly string[]>> = {
  value: ['value', 'indicator', 'ioc', 'ioc_value', 'observable', 'ip', 'domain', 'url', 'hash', 'sha256'],
  type: ['type', 'ioc_type', 'indicator_type'],
  confidence: ['confidence', 'confidence_level', 'score'],
  valid_from: ['valid_from', 'first_seen', 'first_seen_utc'],
  valid_until: ['valid_until', 'expiration', 'expires'],
  tlp: ['tlp'],
  labels: ['labels', 'tags'],
  description: ['description', 'comment', 'campaign', 'malware', 'threat'],
  reference: ['reference', 'id', 'uuid'],
}

/** Words of feeds for types; `null`: a type that events are not matched by. */
export function typeOfWord(word: string): ObservableType | 'any' | null {
  const bare = word.trim().toLowerCase().replaceAll('_', '-')
  const own = OBSERVABLE_TYPES.find((type) => type === bare)
  if (own) return own
  if (/^(ip|ip-(src|dst|address)|ipv[46](-addr)?|ip:port|cidr|netblock|network|address)$/.test(bare)) return 'any'
  if (/^(hostname|domain-name|fqdn|host)$/.test(bare)) return 'domain'
  if (/^(uri|link)$/.test(bare)) return 'url'
  if (/^(md5|sha1|sha256)-hash$/.test(bare) || /^(file)?hash-?(md5|sha-?1|sha-?256)$/.test(bare))
    return /md5/.test(bare) ? 'md5' : /256/.test(bare) ? 'sha256' : 'sha1'
  if (/^(hash|file-hash|ioc|indicator|)$/.test(bare)) return 'any'
  if (/^(email(-(src|dst|addr|address))?|e-mail|mail)$/.test(bare)) return 'email'
  return /^ja3(-fingerprint(-md5)?)?$/.test(bare) ? 'ja3' : null
}

export function parseCsv(text: string, defaults: Details, mapping: CsvMapping = {}): Result<FeedContent, FeedRefusal> {
  const rows = rowsOf(text)
  const head = rows.next()
  if (head.done === true) return refuse(head.value ?? 'empty_feed', 'there is nothing in it')
  const names = head.value.map((name) => name.trim().toLowerCase())
  const places = new Map<CsvColumn, number>()
  for (const column of CSV_COLUMNS) {
    const told = mapping[column]
    const at =
      told === undefined ? names.findIndex((name) => USUAL[column].includes(name)) : names.indexOf(told.toLowerCase())
    if (told !== undefined && at < 0)
      return refuse(
        'not_this_format',
        `there is no column ${JSON.stringify(told)}; there are ${names.join(', ').slice(0, 200)}`,
      )
    if (at >= 0) places.set(column, at)
  }
  if (!places.has('value'))
    return refuse('not_this_format', `none of the columns is known to hold values: ${names.join(', ').slice(0, 200)}`)
  const entries = new Entries()
  for (;;) {
    const next = rows.next()
    if (next.done === true) {
      if (next.value !== undefined) return refuse(next.value, 'it ends within quotes')
      break
    }
    const row = next.value
    if (row.length === 1 && row[0]?.trim() === '') continue
    const cell = (column: CsvColumn) => row[places.get(column) ?? -1]?.trim() ?? ''
    const type = typeOfWord(cell('type'))
    if (type === null) {
      entries.refuse('unsupported_type', `${cell('type')} ${cell('value')}`)
      continue
    }
    entries.add(cell('value'), type === 'any' ? undefined : type, { ...defaults, ...detailsOf(cell) })
    if (entries.isTooLarge) break
  }
  return entries.content()
}

function detailsOf(cell: (column: CsvColumn) => string): Details {
  const confidence = confidenceOf(cell('confidence'))
  const validFrom = timeText(cell('valid_from'))
  const validUntil = timeText(cell('valid_until'))
  const tlp = tlpOf(cell('tlp'))
  const labels = cell('labels')
    .split(/[,;|\s]+/)
    .filter((label) => label !== '')
  const description = shortText(cell('description'))
  const reference = shortText(cell('reference'))
  return {
    ...(confidence === undefined ? {} : { confidence }),
    ...(validFrom === undefined ? {} : { validFrom }),
    ...(validUntil === undefined ? {} : { validUntil }),
    ...(tlp === undefined ? {} : { tlp }),
    ...(labels.length === 0 ? {} : { labels }),
    ...(description === undefined ? {} : { description }),
    ...(reference === undefined ? {} : { reference }),
  }
}

const QUOTE = '"'

/** Rows without comments. It returns `truncated` when the text ends within quotes. */
function* rowsOf(text: string): Generator<string[], FeedRefusal | undefined> {
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0
  let separator: string | undefined
  while (at < text.length) {
    const lineEnd = text.indexOf('\n', at)
    const line = text.slice(at, lineEnd < 0 ? undefined : lineEnd)
    if (line.trim() === '' || line.startsWith('#')) {
      if (lineEnd < 0) return undefined
      at = lineEnd + 1
      continue
    }
    separator ??= [',', ';', '\t'].toSorted((a, b) => line.split(b).length - line.split(a).length)[0] ?? ','
    const row: string[] = []
    for (;;) {
      if (text[at] === QUOTE) {
        let cell = ''
        let end = text.indexOf(QUOTE, at + 1)
        let from = at + 1
        while (end >= 0 && text[end + 1] === QUOTE) {
          cell += text.slice(from, end + 1)
          from = end + 2
          end = text.indexOf(QUOTE, from)
        }
        if (end < 0) return 'truncated'
        row.push(cell + text.slice(from, end))
        at = end + 1
        while (at < text.length && text[at] !== separator && text[at] !== '\n') at++
      } else {
        let end = at
        while (end < text.length && text[end] !== separator && text[end] !== '\n') end++
        row.push(text.slice(at, end).replace(/\r$/, ''))
        at = end
      }
      if (text[at] !== separator) break
      at++
    }
    at++
    yield row
  }
  return undefined
}
