/** Owners of files by rpm(8), which alone can read its database; asked once a file, and never for longer than ten seconds. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { MiB } from '@firebreak/shared/wire/units.ts'
import type { FileDigestPair, PackageFields, PackageOwners } from './executable-facts.ts'

const run = promisify(execFile)
const OPTIONS = { timeout: 10_000, maxBuffer: 16 * MiB, encoding: 'utf8' } as const
const FORMAT = String.raw`%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\n[%{FILENAMES}\t%{FILEDIGESTS}\n]`
const DIGEST_BY_LENGTH: Readonly<Record<number, keyof FileDigestPair>> = { 32: 'md5', 64: 'sha256' }

export class RpmOwners implements PackageOwners {
  readonly #where: readonly string[]

  /** `database`: its folder below `root`, named because where rpm looks by itself differs by distribution and by HOME. */
  constructor(root: string, database: string) {
    this.#where = ['--dbpath', `/${database}`, ...(root === '/' ? [] : ['--root', root])]
  }

  async of(path: string, digests: FileDigestPair): Promise<PackageFields> {
    try {
      const { stdout } = await run('rpm', [...this.#where, '-q', '-f', '--queryformat', FORMAT, '--', path], {
        ...OPTIONS,
        env: { PATH: process.env.PATH, LC_ALL: 'C', HOME: '/nonexistent' },
      })
      return judge(stdout, path, digests)
    } catch (error) {
      return isUnowned(error) ? { status: 'unowned' } : { status: 'unknown' }
    }
  }
}

/**
 * Status 1 with one of these sentences is rpm's answer; the second one is it for a path that only exists below another root, or not any
 * more. A database that cannot be read has a line of its own.
 */
function isUnowned(error: unknown): boolean {
  const { code, stdout, stderr } = error as { code?: unknown; stdout?: unknown; stderr?: unknown }
  if (code !== 1) return false
  if (typeof stdout === 'string' && stdout.includes('is not owned by any package')) return true
  return typeof stderr === 'string' && /^error: file .*: No such file or directory\n$/.test(stderr)
}

function judge(answer: string, path: string, digests: FileDigestPair): PackageFields {
  const [head = '', ...files] = answer.split('\n')
  const [name, epoch, version] = head.split('\t')
  if (!name || !version) return { status: 'unknown' }
  const shipped = shippedDigest(files, path)
  const kind = DIGEST_BY_LENGTH[shipped?.length ?? 0]
  const status = kind === undefined ? 'unknown' : digests[kind] === shipped ? 'intact' : 'modified'
  return { name, version: epoch === undefined || epoch === '0' ? version : `${epoch}:${version}`, type: 'rpm', status }
}

/** Packages may still list a file by its name of before /bin and /usr/bin became one. */
function shippedDigest(files: readonly string[], path: string): string | undefined {
  for (const name of [path, path.replace(/^\/usr(?=\/(?:bin|sbin|lib|lib64)\/)/, '')]) {
    const line = files.find((file) => file.startsWith(`${name}\t`))
    if (line !== undefined) return line.slice(name.length + 1)
  }
  return undefined
}
