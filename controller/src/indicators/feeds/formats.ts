/** The formats of a whole text, one file each; `auto` looks at how it begins. */
import type { ObservableType } from '@firebreak/shared/indicators/observable.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { FeedContent } from '../index.ts'
import { type CsvMapping, parseCsv } from './csv.ts'
import type { Details, FeedRefusal } from './entries.ts'
import { parseList } from './list.ts'
import { parseMisp } from './misp.ts'
import { parseStix } from './stix.ts'

export const TEXT_FORMATS = ['list', 'csv', 'stix', 'misp'] as const
export type TextFormat = (typeof TEXT_FORMATS)[number]

export interface TextOptions {
  readonly details: Details
  /** Of a list: what all of its values are. */
  readonly type?: ObservableType
  readonly columns?: CsvMapping
}

export function parseText(
  format: TextFormat | 'auto',
  text: string,
  { details, type, columns }: TextOptions,
): Result<FeedContent, FeedRefusal> {
  const known = format === 'auto' ? formatOf(text) : format
  switch (known) {
    case 'list':
      return parseList(text, details, type)
    case 'csv':
      return parseCsv(text, details, columns)
    case 'stix':
      return parseStix(text, details)
    case 'misp':
      return parseMisp(text, details)
    default:
      throw new Error(`unhandled format ${String(known satisfies never)}`)
  }
}

function formatOf(text: string): TextFormat {
  const begin = text.slice(0, 4_096).trimStart()
  if (/^[[{]/.test(begin)) return /"(Event|response)"\s*:/.test(begin) ? 'misp' : 'stix'
  const first = begin.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#')) ?? ''
  return /[,;\t].*/.test(first) && /(^|[,;\t"])(value|indicator|ioc|type|ioc_value)("|[,;\t]|\r?$)/i.test(first)
    ? 'csv'
    : 'list'
}
