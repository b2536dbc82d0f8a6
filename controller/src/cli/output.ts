/** Data on standard output, in the form that was asked for. Everything that hosts wrote is made safe for a terminal here. */
import Table from 'cli-table3'
import { stringify } from 'yaml'
import type { Io } from './io.ts'
import { fitText, hasUnsafe, replaceUnsafe, safeJson } from './terminal-text.ts'

export const FORMATS = ['table', 'json', 'ndjson', 'yaml', 'raw'] as const
export type Format = (typeof FORMATS)[number]

export interface Column<Row> {
  readonly head: string
  readonly cell: (row: Row) => string
  /** Colours the text after it was made safe and cut. */
  readonly paint?: (text: string, row: Row) => string
  /** Takes the width that the others leave; the longest text belongs here. */
  readonly flexible?: boolean
  /** Left out where the line is too narrow for all; the last such column first. */
  readonly optional?: boolean
}

export interface Shown<Row> {
  readonly columns: readonly Column<Row>[]
  /** One line of `-o raw`. */
  readonly raw: (row: Row) => string
  /** What the table says when there is nothing. */
  readonly empty: string
}

const GAP = 2
const MIN_FLEXIBLE = 14

export function printList<Row>(io: Io, format: Format, rows: readonly Row[], shown: Shown<Row>): void {
  switch (format) {
    case 'json':
      return io.out(`${safeJson(rows, 2)}\n`)
    case 'ndjson':
      return io.out(rows.map((row) => `${safeJson(row)}\n`).join(''))
    case 'yaml':
      return io.out(safeYaml(rows))
    case 'raw':
      return io.out(rows.map((row) => `${fitText(shown.raw(row), Number.MAX_SAFE_INTEGER)}\n`).join(''))
    case 'table':
      return rows.length === 0 ? io.say(shown.empty) : io.out(`${tableOf(io, rows, shown.columns, io.columns)}\n`)
    default:
      throw new Error(`unhandled format ${String(format satisfies never)}`)
  }
}

/** One thing: as data, or as the page that `page` draws. */
export function printOne(io: Io, format: Format, value: unknown, raw: string, page: () => string): void {
  switch (format) {
    case 'json':
      return io.out(`${safeJson(value, 2)}\n`)
    case 'ndjson':
      return io.out(`${safeJson(value)}\n`)
    case 'yaml':
      return io.out(safeYaml(value))
    case 'raw':
      return io.out(`${fitText(raw, Number.MAX_SAFE_INTEGER)}\n`)
    case 'table':
      return io.out(`${page()}\n`)
    default:
      throw new Error(`unhandled format ${String(format satisfies never)}`)
  }
}

export function tableOf<Row>(io: Io, rows: readonly Row[], all: readonly Column<Row>[], width: number): string {
  const columns = fitting(rows, all, width)
  const cells = rows.map((row) => columns.map(({ cell }) => cell(row)))
  const natural = columns.map((column) => naturalWidth(rows, column))
  const widths = widthsOf(
    natural,
    columns.map(({ flexible }) => flexible === true),
    width,
  )
  const table = new Table({
    head: columns.map(({ head }) => io.colors.bold(head)),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': GAP },
    chars: NO_LINES,
  })
  for (const [index, row] of rows.entries())
    table.push(
      columns.map(({ paint }, at) => {
        const text = fitText(cells[index]?.[at] ?? '', widths[at] ?? 0)
        return paint ? paint(text, row) : text
      }),
    )
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

function naturalWidth<Row>(rows: readonly Row[], { head, cell }: Column<Row>): number {
  return Math.max(head.length, ...rows.map((row) => Array.from(fitText(cell(row), 10_000)).length))
}

function fitting<Row>(rows: readonly Row[], all: readonly Column<Row>[], width: number): readonly Column<Row>[] {
  const least = (column: Column<Row>) => {
    const natural = naturalWidth(rows, column)
    return column.flexible === true ? Math.min(natural, MIN_FLEXIBLE) : natural
  }
  let needed = all.reduce((sum, column) => sum + least(column) + GAP, -GAP)
  const left = new Set<Column<Row>>()
  for (const column of all.toReversed()) {
    if (needed <= width) break
    if (column.optional !== true) continue
    left.add(column)
    needed -= least(column) + GAP
  }
  return all.filter((column) => !left.has(column))
}

/** Columns keep their natural width; flexible ones share what is left, the short ones first so that nothing is wasted on them. */
function widthsOf(natural: readonly number[], flexible: readonly boolean[], width: number): number[] {
  const widths = [...natural]
  const open = natural.flatMap((wanted, at) => (flexible[at] ? [{ at, wanted }] : []))
  let left = width - natural.reduce((sum, one, at) => sum + GAP + (flexible[at] ? 0 : one), -GAP)
  for (const [done, { at, wanted }] of open.toSorted((a, b) => a.wanted - b.wanted).entries()) {
    const share = Math.max(MIN_FLEXIBLE, Math.floor(left / (open.length - done)))
    widths[at] = Math.min(wanted, share)
    left -= widths[at]
  }
  return widths
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
}

function safeYaml(value: unknown): string {
  const plain = stringify(value)
  if (!hasUnsafe(plain.replaceAll('\n', ''))) return plain
  // In double quotes every escape means what it says, so what is unsafe can be written as one (YAML 1.2.2, 5.7).
  const quoted = stringify(value, { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN', lineWidth: 0 })
  return replaceUnsafe(quoted, (char) =>
    char === '\n' ? char : String.raw`\U${(char.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`,
  )
}
