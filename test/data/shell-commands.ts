/**
 * The simple commands of a shell script, and the files that it writes to by redirection: what a sensor would see of it, near enough to
 * try detection on scripts that nobody should run. Source: POSIX.1-2024, 2.9 (shell commands), 2.7 (redirection).
 */
export interface ShellTrace {
  /** Words of each simple command without assignments and redirections, in the order of their beginnings. */
  readonly commands: readonly (readonly string[])[]
  readonly written: readonly string[]
}

const KEYWORDS = new Set([
  'if',
  'then',
  'elif',
  'else',
  'fi',
  'do',
  'done',
  'while',
  'until',
  'case',
  'esac',
  '{',
  '}',
  '!',
  'time',
])
const ASSIGNMENT = /^[A-Za-z_]\w*\+?=/
const MAX_DEPTH = 8

export function shellTrace(script: string): ShellTrace {
  const commands: string[][] = []
  const written: string[] = []
  walk(script, 0, commands, written)
  return { commands, written }
}

function walk(script: string, depth: number, commands: string[][], written: string[]): void {
  let words: string[] = []
  let word: string | undefined
  let target = false
  const inner: string[] = []
  const endWord = () => {
    if (word === undefined) return
    if (target) {
      if (!/^&?\d*$|^\/dev\/(?:null|std)/.test(word)) written.push(word)
      target = false
    } else words.push(word)
    word = undefined
  }
  const endCommand = () => {
    endWord()
    target = false
    const kept = simpleCommand(words)
    if (kept.length > 0) commands.push(kept)
    words = []
    for (const text of inner.splice(0)) if (depth < MAX_DEPTH) walk(text, depth + 1, commands, written)
  }
  for (let at = 0; at < script.length; at++) {
    const char = script[at] as string
    const next = script[at + 1]
    if (char === '\\') {
      if (next !== '\n') word = (word ?? '') + (next ?? '')
      at++
    } else if (char === "'") {
      const end = script.indexOf("'", at + 1)
      const to = end < 0 ? script.length : end
      word = (word ?? '') + script.slice(at + 1, to)
      at = to
    } else if (char === '"') {
      const to = quoteEnd(script, at + 1)
      const text = script.slice(at + 1, to)
      inner.push(...substitutionsIn(text))
      word = (word ?? '') + text.replaceAll(/\\(["\\$`])/g, '$1')
      at = to
    } else if ((char === '$' && next === '(' && script[at + 2] !== '(') || char === '`') {
      const open = char === '`' ? at : at + 1
      const to = char === '`' ? closing(script, at + 1, '`') : bracketEnd(script, open + 1)
      inner.push(script.slice(open + 1, to))
      word = (word ?? '') + script.slice(at, to + 1)
      at = to
    } else if (char === '#' && word === undefined) {
      const end = script.indexOf('\n', at)
      at = (end < 0 ? script.length : end) - 1
    } else if (char === '>') {
      if (word !== undefined && /^\d+$/.test(word)) word = undefined
      endWord()
      target = true
      if (next === '>' || next === '|') at++
    } else if (char === '&' && target && word === undefined) word = '&'
    else if (/[\n;&|()]/.test(char)) endCommand()
    else if (/\s/.test(char)) endWord()
    else word = (word ?? '') + char
  }
  endCommand()
}

function simpleCommand(words: readonly string[]): string[] {
  let rest = [...words]
  for (;;) {
    const [first] = rest
    if (first === undefined) return []
    if (first === 'for' || first === 'in' || first === 'function') return []
    if (!KEYWORDS.has(first) && !ASSIGNMENT.test(first)) return rest
    rest = rest.slice(1)
  }
}

function quoteEnd(script: string, from: number): number {
  for (let at = from; at < script.length; at++) {
    if (script[at] === '\\') at++
    else if (script.startsWith('$(', at)) at = bracketEnd(script, at + 2)
    else if (script[at] === '"') return at
  }
  return script.length
}

function bracketEnd(script: string, from: number): number {
  let open = 1
  for (let at = from; at < script.length; at++) {
    const char = script[at]
    if (char === '\\') at++
    else if (char === "'") at = closing(script, at + 1, "'")
    else if (char === '(') open++
    else if (char === ')' && --open === 0) return at
  }
  return script.length
}

function closing(script: string, from: number, char: string): number {
  const end = script.indexOf(char, from)
  return end < 0 ? script.length : end
}

function substitutionsIn(text: string): string[] {
  const found: string[] = []
  for (let at = 0; at < text.length; at++)
    if (text.startsWith('$(', at) && text[at + 2] !== '(') {
      const to = bracketEnd(text, at + 2)
      found.push(text.slice(at + 2, to))
      at = to
    }
  return found
}
