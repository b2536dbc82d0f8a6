/** Installed packages, by the data base of whichever package manager is there. */
import { execFile } from 'node:child_process'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { versionOf } from './accounts.ts'

const run = promisify(execFile)
const MAX_DATABASE_BYTES = 128 * MiB
const RPM_TIMEOUT_MS = 60_000

export interface InstalledPackage {
  readonly name: string
  readonly version: string
  readonly type: 'deb' | 'rpm' | 'apk'
  readonly architecture: string | undefined
}

export interface PackageSource {
  readonly type: InstalledPackage['type']
  /** Changes when a package comes or goes; empty when this manager is not here. */
  version(): string
  read(): Promise<InstalledPackage[]>
}

export function packageSources(root: string): readonly PackageSource[] {
  const dpkg = join(root, 'var/lib/dpkg/status')
  const apk = join(root, 'lib/apk/db/installed')
  const rpm = ['usr/lib/sysimage/rpm/rpmdb.sqlite', 'var/lib/rpm/rpmdb.sqlite', 'var/lib/rpm/Packages'].map((path) =>
    join(root, path),
  )
  return [
    { type: 'deb', version: () => versionOf(dpkg), read: () => parseFile(dpkg, parseDpkgParagraph) },
    { type: 'apk', version: () => versionOf(apk), read: () => parseFile(apk, parseApkParagraph) },
    // WAL: the data base file itself may stay the same for a while.
    {
      type: 'rpm',
      version: () => rpm.map((path) => versionOf(path) + versionOf(`${path}-wal`)).join(''),
      read: () => readRpm(root),
    },
  ]
}

/** deb822(5) paragraph of /var/lib/dpkg/status; undefined for what is not installed (removed, its configuration kept). */
export function parseDpkgParagraph(paragraph: string): InstalledPackage | undefined {
  if (!/^Status: \S+ \S+ installed$/m.test(paragraph)) return undefined
  return packageOf('deb', field(paragraph, 'Package'), field(paragraph, 'Version'), field(paragraph, 'Architecture'))
}

/** Paragraph of apk's installed data base: P name, V version, A architecture. */
export function parseApkParagraph(paragraph: string): InstalledPackage | undefined {
  return packageOf('apk', field(paragraph, 'P'), field(paragraph, 'V'), field(paragraph, 'A'))
}

async function readRpm(root: string): Promise<InstalledPackage[]> {
  const format = String.raw`%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n`
  const { stdout } = await run('rpm', ['--root', root, '--query', '--all', '--queryformat', format], {
    maxBuffer: 16 * MiB,
    timeout: RPM_TIMEOUT_MS,
  })
  return stdout.split('\n').flatMap((line) => {
    const [name, version, architecture] = line.split('\t')
    const found = packageOf('rpm', name, version?.replace(/^0:/, ''), architecture)
    return found ? [found] : []
  })
}

/** Paragraph by paragraph, so that megabytes of descriptions are not held at once and the loop is given back in between. */
async function parseFile(
  path: string,
  parse: (paragraph: string) => InstalledPackage | undefined,
): Promise<InstalledPackage[]> {
  await using file = await open(path, 'r')
  const found: InstalledPackage[] = []
  for await (const paragraph of paragraphs(file)) {
    const one = parse(paragraph)
    if (one) found.push(one)
  }
  return found
}

async function* paragraphs(file: FileHandle): AsyncGenerator<string> {
  const chunk = Buffer.allocUnsafe(MiB)
  let rest = ''
  for (let at = 0; at < MAX_DATABASE_BYTES; ) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) break
    at += bytesRead
    const parts = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
  yield rest
}

function packageOf(
  type: InstalledPackage['type'],
  name: string | undefined,
  version: string | undefined,
  architecture: string | undefined,
): InstalledPackage | undefined {
  return name && version ? { type, name, version, architecture } : undefined
}

function field(paragraph: string, name: string): string | undefined {
  const start = paragraph.startsWith(`${name}:`) ? 0 : paragraph.indexOf(`\n${name}:`) + 1
  if (start === 0 && !paragraph.startsWith(`${name}:`)) return undefined
  const end = paragraph.indexOf('\n', start)
  return paragraph.slice(start + name.length + 1, end < 0 ? undefined : end).trim()
}
