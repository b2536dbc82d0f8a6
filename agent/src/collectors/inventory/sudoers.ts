/** Who may run what as whom by sudo: every rule of /etc/sudoers and of the files it includes. Source: sudoers(5). */
import { dirname, join } from 'node:path'
import os from 'node:os'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { listFolder, readLines, stampOf, stampOfFolder } from './bounded-file.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'
import { type Aliases, expandAlias, parseSudoersLine, type SudoRule } from './sudoers-line.ts'

const MAIN = '/etc/sudoers'
const DROP_INS = '/etc/sudoers.d'
const MAX_BYTES = MiB
/** sudo itself stops at 128 levels of includes; a loop of links ends here sooner. */
const MAX_FILES = 256
const MAX_DEPTH = 16
const MAX_LINE = 65_536

interface Place {
  readonly file: string
  readonly rule: SudoRule
}

export function sudoersSource({ root }: Roots, limit: number): InventorySource {
  return {
    name: 'sudoers',
    kind: 'sudoers',
    watch: [MAIN, `${DROP_INS}/`],
    version: async () => `${await stampOf(join(root, MAIN))}|${stampOfFolder(join(root, DROP_INS), 1_000)}`,
    async read() {
      const found = new Findings(limit)
      const read = new SudoersReader(root, found)
      await read.file(MAIN, 0, true)
      for (const { file, rule } of read.places) found.add(ruleItem(file, rule, read.aliases))
      return found.reading()
    },
  }
}

class SudoersReader {
  readonly places: Place[] = []
  readonly aliases: Aliases = new Map()
  readonly #root: string
  readonly #found: Findings
  #files = 0
  readonly #open = new Set<string>()

  constructor(root: string, found: Findings) {
    this.#root = root
    this.#found = found
  }

  async file(path: string, depth: number, mayBeAbsent = false): Promise<void> {
    if (this.#open.has(path)) return this.#found.trouble(`${path} includes itself`)
    if (depth > MAX_DEPTH || ++this.#files > MAX_FILES)
      return this.#found.trouble(`${path}: more files or levels than ${MAX_FILES} or ${MAX_DEPTH}`)
    const read = await readLines(join(this.#root, path), MAX_BYTES)
    if (!read.ok) {
      if (read.code !== 'absent' || !mayBeAbsent) this.#found.trouble(read.why)
      return
    }
    this.#open.add(path)
    let malformed = 0
    for (const line of joined(read.value)) {
      const parsed = parseSudoersLine(line)
      if (parsed === undefined) continue
      if (parsed === 'malformed') malformed += 1
      else if (parsed.what === 'rules') for (const rule of parsed.rules) this.places.push({ file: path, rule })
      else if (parsed.what === 'aliases')
        for (const [name, members] of parsed.aliases) this.aliases.set(`${parsed.of}:${name}`, members)
      else if (parsed.what === 'include') await this.file(this.#resolve(path, parsed.path), depth + 1)
      else await this.#folder(this.#resolve(path, parsed.path), depth + 1)
    }
    this.#open.delete(path)
    if (malformed > 0) this.#found.trouble(`${malformed} lines of ${path} cannot be understood`)
  }

  /** Names that end in `~` or hold a dot are left out, as sudo does. */
  async #folder(path: string, depth: number): Promise<void> {
    const { names, why } = await listFolder(join(this.#root, path), MAX_FILES)
    if (why !== undefined) this.#found.trouble(why)
    for (const name of names) if (!name.endsWith('~') && !name.includes('.')) await this.file(join(path, name), depth)
  }

  #resolve(from: string, path: string): string {
    const named = path.replaceAll('%h', os.hostname().split('.')[0] ?? '')
    return named.startsWith('/') ? named : join(dirname(from), named)
  }
}

/** A line that ends in a backslash goes on in the next one. */
function joined(lines: readonly string[]): string[] {
  const whole: string[] = []
  let begun = ''
  for (const line of lines) {
    if (line.endsWith('\\') && begun.length + line.length < MAX_LINE) {
      begun += line.slice(0, -1)
      continue
    }
    whole.push(begun + line)
    begun = ''
  }
  if (begun !== '') whole.push(begun)
  return whole
}

function ruleItem(file: string, rule: SudoRule, aliases: Aliases) {
  const { who, hosts, runAs, tags, command } = rule
  const [asUsers = '', asGroups = ''] = runAs.split(':')
  const groups = list(expandAlias('Runas', asGroups, aliases))
  const tagText = tags.length > 0 ? `${tags.join(': ')}: ` : ''
  const text = `${who} ${hosts}=(${runAs}) ${tagText}${command}`
  return {
    key: `${file}|${text}`,
    label: text.slice(0, 512),
    facts: {
      who: who.slice(0, 1_024),
      users: list(expandAlias('User', who, aliases)),
      hosts: list(expandAlias('Host', hosts, aliases)),
      run_as: list(expandAlias('Runas', asUsers, aliases)),
      ...(groups.length > 0 ? { run_as_groups: groups } : {}),
      commands: list(expandAlias('Cmnd', command, aliases)),
      no_password: tags.includes('NOPASSWD'),
      tags: list(tags),
      file,
    },
  }
}

function list(values: readonly string[]): string[] {
  return values
    .filter((value) => value !== '')
    .slice(0, 64)
    .map((value) => value.slice(0, 1_024))
}
