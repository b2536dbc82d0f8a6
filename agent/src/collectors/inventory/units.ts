/** Services, timers, sockets and path watches of systemd: what they start, and whether they start by themselves. Source: systemd.unit(5). */
import { statSync } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { KiB } from '@firebreak/shared/wire/units.ts'
import { findProgram, run } from '../../platform/linux/program.ts'
import { present } from '../present.ts'
import { listFolder, readLines, stampOfFolder } from './bounded-file.ts'
import { Findings, type InventorySource, type Item, type Roots } from './source.ts'
import { parseUnit, type UnitText } from './unit-file.ts'

/** What an administrator wrote goes before what runs, before what was packaged. */
const FOLDERS = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
] as const
const KINDS = /\.(?:service|timer|socket|path)$/
const MAX_NAMES = 5_000
const MAX_BYTES = 256 * KiB
const ACTIVE_TIMEOUT_MS = 10_000

export function unitsSource({ root }: Roots, limit: number): InventorySource {
  return {
    name: 'units',
    kind: 'units',
    watch: FOLDERS.slice(0, 4).map((folder) => `${folder}/`),
    version: () =>
      foldersOf(root)
        .map((folder) => stampOfFolder(join(root, folder), MAX_NAMES))
        .join('|'),
    async read() {
      const found = new Findings(limit)
      const reader = new UnitReader(root, found)
      for (const item of await reader.all()) found.add(item)
      return found.reading()
    },
  }
}

/** On most systems /lib is /usr/lib: looked at once. */
function foldersOf(root: string): readonly string[] {
  return isSame(join(root, '/lib'), join(root, '/usr/lib')) ? FOLDERS.slice(0, -1) : FOLDERS
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => statSync(path, { throwIfNoEntry: false }))
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino
}

class UnitReader {
  readonly #root: string
  readonly #found: Findings
  /** Unit → folder of the file that counts. */
  readonly #files = new Map<string, string>()
  /** Unit → where it is wanted from: an enabled unit. */
  readonly #wanted = new Map<string, string>()
  /** Unit → drop-in files, in their order. */
  readonly #dropIns = new Map<string, string[]>()

  constructor(root: string, found: Findings) {
    this.#root = root
    this.#found = found
  }

  async all(): Promise<readonly Item[]> {
    for (const folder of foldersOf(this.#root)) await this.#look(folder)
    const active = await activeStates(this.#root)
    const items: Item[] = []
    const names = new Set([...this.#files.keys(), ...[...this.#wanted.keys()].filter((name) => this.#isInstance(name))])
    for (const name of [...names].toSorted()) {
      const item = await this.#unit(name, active)
      if (item) items.push(item)
    }
    return items
  }

  async #look(folder: string): Promise<void> {
    const { names, why } = await listFolder(join(this.#root, folder), MAX_NAMES)
    if (why !== undefined) this.#found.trouble(why)
    for (const name of names) {
      if (KINDS.test(name)) {
        if (!this.#files.has(name)) this.#files.set(name, folder)
      } else if (/\.(?:wants|requires|upholds)$/.test(name)) {
        // Links that a package ships say that it must run, not that somebody enabled it.
        if (folder.startsWith('/usr/lib') || folder.startsWith('/lib')) continue
        for (const wanted of (await listFolder(join(this.#root, folder, name), MAX_NAMES)).names)
          if (KINDS.test(wanted) && !this.#wanted.has(wanted)) this.#wanted.set(wanted, folder)
      } else if (name.endsWith('.d') && KINDS.test(name.slice(0, -2))) {
        const path = join(folder, name)
        const files = (await listFolder(join(this.#root, path), 100)).names.filter((file) => file.endsWith('.conf'))
        const known = this.#dropIns.get(name.slice(0, -2)) ?? []
        const isNew = (file: string) => !known.some((other) => basename(other) === file)
        this.#dropIns.set(name.slice(0, -2), [...known, ...files.filter(isNew).map((file) => join(path, file))])
      }
    }
  }

  async #unit(name: string, active: ReadonlyMap<string, ActiveState>): Promise<Item | undefined> {
    const template = templateOf(name)
    const source = this.#files.has(name) ? name : template
    const folder = source === undefined ? undefined : this.#files.get(source)
    if (source === undefined || folder === undefined) return undefined
    const path = join(folder, source)
    const target = await linkTarget(join(this.#root, path))
    if (target === '/dev/null') return unitItem(name, { path, state: 'masked', text: undefined }, active)
    // Another name of a unit that is told under its own.
    if (target !== undefined && basename(target) !== source) return undefined
    const texts: string[][] = []
    for (const file of [path, ...this.#dropInsOf(name, template)]) {
      const read = await readLines(join(this.#root, file), MAX_BYTES)
      if (read.ok) texts.push(read.value)
      else if (read.code !== 'absent') this.#found.trouble(read.why)
    }
    if (texts.length === 0) return undefined
    const text = parseUnit(texts)
    const wanted = this.#wanted.get(name)
    const enabled = wanted === undefined ? undefined : wanted.startsWith('/run') ? 'enabled-runtime' : 'enabled'
    return unitItem(name, { path, state: enabled ?? (text.isInstallable ? 'disabled' : 'static'), text }, active)
  }

  #dropInsOf(name: string, template: string | undefined): string[] {
    const files = [
      ...(template === undefined ? [] : (this.#dropIns.get(template) ?? [])),
      ...(this.#dropIns.get(name) ?? []),
    ]
    return files.toSorted((a, b) => (basename(a) < basename(b) ? -1 : 1))
  }

  #isInstance(name: string): boolean {
    const template = templateOf(name)
    return template !== undefined && this.#files.has(template)
  }
}

interface UnitFound {
  readonly path: string
  readonly state: string
  readonly text: UnitText | undefined
}

function unitItem(name: string, { path, state, text }: UnitFound, active: ReadonlyMap<string, ActiveState>): Item {
  const runs = active.get(name)
  return {
    key: name.slice(0, 512),
    label: `${name} ${state}`,
    facts: {
      name: name.slice(0, 1_024),
      type: name.slice(name.lastIndexOf('.') + 1),
      enabled: state,
      path: path.slice(0, 1_024),
      ...text?.facts,
    },
    ...(runs === undefined ? {} : { loose: present({ active: runs.active, sub: runs.sub }) }),
  }
}

/** `a@b.service` is an instance of `a@.service`. */
function templateOf(name: string): string | undefined {
  const at = name.indexOf('@')
  const dot = name.lastIndexOf('.')
  return at > 0 && dot > at + 1 ? `${name.slice(0, at + 1)}${name.slice(dot)}` : undefined
}

/** What a link points to; undefined when it is a file. */
async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined
  } catch {
    return undefined
  }
}

interface ActiveState {
  readonly active: string
  readonly sub: string
}

/** Only systemd itself knows; of another root than this nobody can be asked. */
async function activeStates(root: string): Promise<ReadonlyMap<string, ActiveState>> {
  const states = new Map<string, ActiveState>()
  const systemctl = root === '/' ? findProgram('systemctl') : undefined
  if (systemctl === undefined) return states
  const types = '--type=service,timer,socket,path'
  const asked = await run([systemctl, 'list-units', '--all', '--full', '--plain', '--no-legend', '--no-pager', types], {
    timeoutMs: ACTIVE_TIMEOUT_MS,
  })
  for (const line of asked.code === 0 ? asked.stdout.split('\n') : []) {
    const [name, , active, sub] = line.trim().split(/ +/, 4)
    if (name !== undefined && active !== undefined && sub !== undefined) states.set(name, { active, sub })
  }
  return states
}
