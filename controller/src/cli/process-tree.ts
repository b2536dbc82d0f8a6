/** Who started whom, as far as the events of signals tell: parents above, what was noticed beside each process. */
import { isRecord } from '../api/json-column.ts'
import type { Signal } from '../api/alerts.ts'
import type { Io } from './io.ts'
import { paintSeverity } from './severity.ts'
import { severityOf } from '../api/alerts.ts'
import { fitText, safeText } from './terminal-text.ts'
import { type TreeItem, treeLines } from './tree-lines.ts'

interface Node {
  readonly key: string
  pid: number | undefined
  name: string
  commandLine: string | undefined
  user: string | undefined
  readonly children: Node[]
  readonly notes: Signal[]
  hasParent: boolean
}

type Fields = Readonly<Record<string, unknown>>

export function processTree(io: Io, signals: readonly Signal[], width: number): string[] {
  const nodes = new Map<string, Node>()
  const loose: Signal[] = []
  for (const signal of signals.toSorted((a, b) => (a.event_time < b.event_time ? -1 : 1))) {
    const process = fieldsOf(signal.event['process'])
    if (process) chainOf(nodes, process).notes.push(signal)
    else loose.push(signal)
  }
  const roots = [...nodes.values()].filter((node) => !node.hasParent)
  return [
    ...roots.flatMap((node) => treeLines(io, itemOf(io, node), width)),
    ...loose.map((signal) => noteLine(io, signal, width)),
  ]
}

/** The node of a process, with the whole chain above it in place. */
function chainOf(nodes: Map<string, Node>, process: Fields): Node {
  const above = [...listOf(process['ancestors']).toReversed(), fieldsOf(process['parent'])].filter(
    (one) => one !== undefined,
  )
  let parent: Node | undefined
  for (const fields of [...above, process]) {
    const node = nodeOf(nodes, fields)
    if (parent && !node.hasParent && parent !== node && !isBelow(node, parent)) {
      parent.children.push(node)
      node.hasParent = true
    }
    parent = node
  }
  return nodeOf(nodes, process)
}

function nodeOf(nodes: Map<string, Node>, fields: Fields): Node {
  const pid = typeof fields['pid'] === 'number' ? fields['pid'] : undefined
  const name = textOf(fields['name']) ?? textOf(fields['executable']) ?? '?'
  const key = textOf(fields['entity_id']) ?? `${pid ?? '?'} ${name}`
  let node = nodes.get(key)
  if (!node) {
    node = { key, pid, name, commandLine: undefined, user: undefined, children: [], notes: [], hasParent: false }
    nodes.set(key, node)
  }
  node.pid ??= pid
  node.commandLine ??= textOf(fields['command_line'])
  node.user ??= textOf(fieldsOf(fields['user'])?.['name'])
  return node
}

/** A host can claim that a process is its own grandparent; a tree must stay one. */
function isBelow(top: Node, wanted: Node): boolean {
  return top === wanted || top.children.some((child) => isBelow(child, wanted))
}

function itemOf(io: Io, node: Node): TreeItem {
  return {
    text: node.commandLine ?? node.name,
    facts: [node.pid === undefined ? undefined : `pid ${node.pid}`, node.user].filter((part) => part !== undefined),
    marked: node.notes.length > 0,
    notes: (width) => node.notes.map((signal) => noteLine(io, signal, width)),
    children: node.children.map((child) => itemOf(io, child)),
  }
}

function noteLine(io: Io, signal: Signal, width: number): string {
  const what = touchedBy(signal.event)
  const text = `${signal.rule_title}${what === '' ? '' : `: ${what}`}`
  const level = severityOf(signal.level)
  return `${paintSeverity(io.colors, '●', level)} ${io.colors.dim(signal.event_time.slice(11, 19))} ${fitText(text, Math.max(20, width - 11))} ${paintSeverity(io.colors, safeText(signal.level), level)}`
}

/** What the process did, beyond being started. */
function touchedBy(event: Fields): string {
  const file = textOf(fieldsOf(event['file'])?.['path'])
  const destination = fieldsOf(event['destination'])
  const ip = textOf(destination?.['ip'])
  if (ip !== undefined) return `→ ${ip}:${typeof destination?.['port'] === 'number' ? destination['port'] : '?'}`
  return file ?? ''
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function fieldsOf(value: unknown): Fields | undefined {
  return isRecord(value) ? value : undefined
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}
