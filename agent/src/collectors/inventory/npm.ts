/** What npm installed in the configured sites: global ones and those of projects. Source: npm's folders(5) and package-lock-json(5). */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { expandPath } from '../watched-paths.ts'
import { listFolder, readBounded, stampOf } from './bounded-file.ts'
import { packageItem } from './packages.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const MAX_SITES = 200
const MAX_MANIFEST_BYTES = MiB
const MAX_LOCK_BYTES = 64 * MiB
/** npm 7 and later write down here what they put into node_modules, so that one file is read instead of thousands. */
const HIDDEN_LOCK = '.package-lock.json'

/** `sites`: node_modules folders, `*` for a part of a path. */
export function npmSource({ root }: Roots, sites: readonly string[], maxPackages: number): InventorySource {
  const folders = () => sites.flatMap((site) => expandPath(site, root)).slice(0, MAX_SITES)
  return {
    name: 'npm',
    kind: 'packages',
    watch: sites.filter((site) => !site.includes('*')).map((site) => `${site}/`),
    async version() {
      const paths = folders().flatMap((folder) => [folder, join(folder, HIDDEN_LOCK)])
      const stamps = await Promise.all(paths.map(stampOf))
      return stamps.some((stamp) => stamp !== '') ? stamps.join('|') : ''
    },
    async read() {
      const found = new Findings(maxPackages)
      for (const folder of folders()) {
        if (found.isFull) break
        if (!(await readLock(folder, root, found))) await readManifests(folder, root, found)
      }
      return found.reading()
    },
  }
}

/** False when there is no such file to go by. */
async function readLock(folder: string, root: string, found: Findings): Promise<boolean> {
  const path = join(folder, HIDDEN_LOCK)
  const read = await readBounded(path, MAX_LOCK_BYTES)
  if (!read.ok) {
    if (read.code !== 'absent') found.trouble(read.why)
    return false
  }
  const { packages } = parsed(read.value) as { packages?: unknown }
  if (typeof packages !== 'object' || packages === null) {
    found.trouble(`${path} lists no packages`)
    return false
  }
  for (const [place, one] of Object.entries(packages)) {
    const name = place.slice(place.lastIndexOf('node_modules/') + 13)
    add(found, name, (one as { version?: unknown } | null)?.version, join(folder, '..', place), root)
  }
  return true
}

async function readManifests(folder: string, root: string, found: Findings): Promise<void> {
  const { names, why } = await listFolder(folder, 20_000)
  if (why !== undefined) found.trouble(why)
  for (const name of names) {
    if (name.startsWith('.')) continue
    const inScope = name.startsWith('@') ? (await listFolder(join(folder, name), 5_000)).names : []
    for (const full of name.startsWith('@') ? inScope.map((one) => `${name}/${one}`) : [name]) {
      const read = await readBounded(join(folder, full, 'package.json'), MAX_MANIFEST_BYTES)
      if (!read.ok) {
        if (read.code !== 'absent') found.trouble(read.why)
        continue
      }
      const manifest = parsed(read.value) as { name?: unknown; version?: unknown }
      add(found, manifest.name, manifest.version, join(folder, full), root)
    }
  }
}

function add(found: Findings, name: unknown, version: unknown, path: string, root: string): void {
  const shown = `/${path.slice(root.length).replace(/^\/+/, '')}`.slice(0, 1_024)
  if (typeof name === 'string' && typeof version === 'string' && name !== '' && name.length <= 214)
    found.add(packageItem({ type: 'npm', name, version: version.slice(0, 256), path: shown }))
  else found.trouble(`${shown} has no name and version`)
}

function parsed(bytes: Buffer): object {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
