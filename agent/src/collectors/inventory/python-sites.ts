/** What pip and its kin installed in the configured sites. Source: PyPA, "Recording installed projects" and "Core metadata". */
import { join } from 'node:path'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import { expandPath } from '../watched-paths.ts'
import { listFolder, readBounded, stampOf } from './bounded-file.ts'
import { packageItem } from './packages.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const MAX_SITES = 200
/** The description follows the headers and may be long. */
const MAX_METADATA_BYTES = 4 * MiB
const HEADERS_BYTES = 64 * KiB

/** `sites`: site-packages and dist-packages folders, `*` for a part of a path. */
export function pythonSource({ root }: Roots, sites: readonly string[], maxPackages: number): InventorySource {
  const folders = () => sites.flatMap((site) => expandPath(site, root)).slice(0, MAX_SITES)
  return {
    name: 'python',
    kind: 'packages',
    watch: sites.filter((site) => !site.includes('*')).map((site) => `${site}/`),
    async version() {
      const stamps = await Promise.all(folders().map(stampOf))
      return stamps.some((stamp) => stamp !== '') ? stamps.join('|') : ''
    },
    async read() {
      const found = new Findings(maxPackages)
      for (const folder of folders()) {
        const { names, why } = await listFolder(folder, 50_000)
        if (why !== undefined) found.trouble(why)
        for (const name of names) {
          if (found.isFull) break
          const paths = metadataPaths(join(folder, name))
          if (paths.length > 0) await readSite(paths, root, found)
        }
      }
      return found.reading()
    },
  }
}

function metadataPaths(path: string): string[] {
  if (path.endsWith('.dist-info')) return [join(path, 'METADATA')]
  // Older tools made a folder or a file of this name.
  return path.endsWith('.egg-info') ? [join(path, 'PKG-INFO'), path] : []
}

async function readSite(paths: readonly string[], root: string, found: Findings): Promise<void> {
  for (const path of paths) {
    const read = await readBounded(path, MAX_METADATA_BYTES)
    if (!read.ok) {
      if (read.code !== 'absent' && read.code !== 'not_a_file') found.trouble(read.why)
      continue
    }
    const { name, version } = parseMetadata(read.value)
    const shown = `/${path.slice(root.length).replace(/^\/+/, '')}`
    if (name === undefined || version === undefined) found.trouble(`${shown} has no name and version`)
    else found.add(packageItem({ type: 'pypi', name, version, path: join(shown, '../..').slice(0, 1_024) }))
    return
  }
}

/** Headers as of mail; a blank line ends them. */
export function parseMetadata(bytes: Buffer): { name: string | undefined; version: string | undefined } {
  const headers = bytes.toString('utf8', 0, HEADERS_BYTES).split(/\r?\n\r?\n/, 1)[0] ?? ''
  const header = (name: string) => new RegExp(`^${name}: *([^\\r\\n]{1,256})$`, 'im').exec(headers)?.[1]?.trim()
  return { name: header('Name'), version: header('Version') }
}
