/** Alpine packages. Source: apk's installed data base, apk-package(5) and lib/apk/db/installed: P name, V version, A architecture. */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { present } from '../present.ts'
import { stampOf } from './bounded-file.ts'
import { fieldOf, type PackageFacts, packageItem, readParagraphs } from './packages.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const INSTALLED = '/lib/apk/db/installed'
const MAX_BYTES = 128 * MiB

export function apkSource({ root }: Roots, maxPackages: number): InventorySource {
  const path = join(root, INSTALLED)
  return {
    name: 'apk',
    kind: 'packages',
    watch: [INSTALLED],
    version: () => stampOf(path),
    async read() {
      const found = new Findings(maxPackages)
      let malformed = 0
      const why = await readParagraphs(path, MAX_BYTES, (paragraph) => {
        if (paragraph.trim() === '') return
        const one = parseApkParagraph(paragraph)
        if (one) found.add(packageItem(one))
        else malformed += 1
      })
      if (why !== undefined) found.trouble(why)
      if (malformed > 0) found.trouble(`${malformed} entries of ${INSTALLED} have no name or version`)
      return found.reading()
    },
  }
}

export function parseApkParagraph(paragraph: string): PackageFacts | undefined {
  const [name, version, architecture] = [fieldOf(paragraph, 'P'), fieldOf(paragraph, 'V'), fieldOf(paragraph, 'A')]
  return name && version ? { type: 'apk', name, version, ...present({ architecture }) } : undefined
}
