/** Debian packages. Source: dpkg's status file, deb822(5). */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { present } from '../present.ts'
import { stampOf } from './bounded-file.ts'
import { fieldOf, type PackageFacts, packageItem, readParagraphs } from './packages.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const STATUS = '/var/lib/dpkg/status'
const MAX_BYTES = 256 * MiB

export function dpkgSource({ root }: Roots, maxPackages: number): InventorySource {
  const path = join(root, STATUS)
  return {
    name: 'dpkg',
    kind: 'packages',
    watch: [STATUS],
    version: () => stampOf(path),
    async read() {
      const found = new Findings(maxPackages)
      let malformed = 0
      const why = await readParagraphs(path, MAX_BYTES, (paragraph) => {
        const one = parseDpkgParagraph(paragraph)
        if (one === 'malformed') malformed += 1
        else if (one) found.add(packageItem(one))
      })
      if (why !== undefined) found.trouble(why)
      if (malformed > 0) found.trouble(`${malformed} entries of ${STATUS} have no name or version`)
      return found.reading()
    },
  }
}

/** Undefined for what is not installed (removed, its configuration kept). */
export function parseDpkgParagraph(paragraph: string): PackageFacts | 'malformed' | undefined {
  if (paragraph.trim() === '') return undefined
  const status = fieldOf(paragraph, 'Status')
  const name = fieldOf(paragraph, 'Package')
  const version = fieldOf(paragraph, 'Version')
  if (status !== undefined && !/^\S+ \S+ installed$/.test(status)) return undefined
  if (!name || !version || status === undefined) return 'malformed'
  return { type: 'deb', name, version, ...present({ architecture: fieldOf(paragraph, 'Architecture') }) }
}
