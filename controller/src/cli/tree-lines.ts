/** A tree on a terminal: a branch a line, what is to be said of it behind, and below it what it did. */
import type { Io } from './io.ts'
import { fitText, wrapText } from './terminal-text.ts'

export interface TreeItem {
  readonly text: string
  /** Behind the text, in brackets. */
  readonly facts: readonly string[]
  readonly marked: boolean
  /** Lines under it, painted already; they fit the width that they are given. */
  readonly notes: (width: number) => readonly string[]
  readonly children: readonly TreeItem[]
}

/** Deeper chains are cut at the top: what happened is at the bottom. */
const MAX_INDENT = 24

export function treeLines(io: Io, item: TreeItem, width: number): string[] {
  return draw(io, item, '', '', width)
}

function draw(io: Io, item: TreeItem, lead: string, branch: string, width: number): string[] {
  const { colors } = io
  const head = `${lead}${branch}`
  const tail = item.facts.length === 0 ? '' : `  (${item.facts.map((fact) => fitText(fact, 40)).join(', ')})`
  const under = branch === '' ? '' : `${lead}${branch === '└─ ' ? '   ' : '│  '}`
  const inner = `${under}${item.children.length > 0 ? '│  ' : '   '}`
  const room = Math.max(20, width - head.length - tail.length)
  const [first = '', ...more] = wrapText(item.text, room)
  const paint = item.marked ? colors.bold : (text: string) => text
  return [
    `${colors.dim(head)}${paint(first)}${colors.dim(tail)}`,
    ...more.map((line) => `${colors.dim(inner)}${paint(line)}`),
    ...item.notes(width - inner.length).map((note) => `${colors.dim(inner)}${note}`),
    ...item.children.flatMap((child, at) =>
      draw(io, child, under.slice(-MAX_INDENT), at === item.children.length - 1 ? '└─ ' : '├─ ', width),
    ),
  ]
}
