/**
 * RPM packages. The SQLite data base (rpm 4.16 and later) is read as it is, without rpm; older kinds are asked of the `rpm` program,
 * where there is one.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import { findProgram, run } from '../../platform/linux/program.ts'
import { present } from '../present.ts'
import { stampOf } from './bounded-file.ts'
import { type PackageFacts, packageItem } from './packages.ts'
import { parseRpmHeader } from './rpm-header.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const FOLDERS = ['/usr/lib/sysimage/rpm', '/var/lib/rpm'] as const
/** Berkeley DB and rpm's own ndb, which only rpm reads. */
const OLDER = ['Packages', 'Packages.db'] as const
const RPM_TIMEOUT_MS = 60_000
/** The event loop is given back after so many headers. */
const AT_ONCE = 200

export function rpmSource({ root }: Roots, maxPackages: number): InventorySource {
  const databases = FOLDERS.map((folder) => join(root, folder, 'rpmdb.sqlite'))
  const older = FOLDERS.flatMap((folder) => OLDER.map((name) => join(root, folder, name)))
  return {
    name: 'rpm',
    kind: 'packages',
    watch: FOLDERS.map((folder) => `${folder}/`),
    async version() {
      // WAL: the data base file itself may stay the same for a while.
      const paths = [...databases, ...databases.map((path) => `${path}-wal`), ...older]
      const stamps = await Promise.all(paths.map(stampOf))
      return stamps.some((stamp) => stamp !== '') ? stamps.join('|') : ''
    },
    async read() {
      const found = new Findings(maxPackages)
      const database = databases.find((path) => existsSync(path))
      if (database === undefined) await askRpm(root, found)
      else
        try {
          await readDatabase(database, found)
        } catch (error) {
          found.trouble(`${database}: ${reasonOf(error)}`)
        }
      return found.reading()
    },
  }
}

async function readDatabase(path: string, found: Findings): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite')
  const database = new DatabaseSync(path, { readOnly: true, timeout: 2_000 })
  try {
    let malformed = 0
    let n = 0
    for (const row of database.prepare('SELECT blob FROM Packages').iterate()) {
      const header = row['blob'] instanceof Uint8Array ? parseRpmHeader(row['blob']) : undefined
      if (!header) malformed += 1
      // gpg-pubkey entries are keys, not software.
      else if (header.name !== 'gpg-pubkey') found.add(packageItem(factsOf(header)))
      if (++n % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
      if (found.isFull) break
    }
    if (malformed > 0) found.trouble(`${malformed} entries of ${path} are no package headers`)
  } finally {
    database.close()
  }
}

async function askRpm(root: string, found: Findings): Promise<void> {
  const rpm = findProgram('rpm')
  if (rpm === undefined) {
    found.trouble('the rpm data base is of an older kind, and there is no rpm to read it')
    return
  }
  const format = String.raw`%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n`
  const asked = await run([rpm, '--root', root, '--query', '--all', '--queryformat', format], {
    timeoutMs: RPM_TIMEOUT_MS,
  })
  if (asked.code !== 0) {
    found.trouble(`rpm --query: ${asked.stderr.slice(0, 200)}`)
    return
  }
  for (const line of asked.stdout.split('\n')) {
    const [name, version, architecture] = line.split('\t')
    if (!name || !version || name === 'gpg-pubkey') continue
    found.add(packageItem(factsOf({ name, version: version.replace(/^0:/, ''), architecture })))
  }
}

function factsOf(header: { name: string; version: string; architecture: string | undefined }): PackageFacts {
  const { name, version, architecture } = header
  return { type: 'rpm', name, version, ...present({ architecture }) }
}
