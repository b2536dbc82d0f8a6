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
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  async of(path: string, digests: FileDigestPair): Promise<PackageFields> {
    try {
      const { stdout } = await run('rpm', [...this.#where(), '-q', '-f', '--queryformat', FORMAT, '--', path], {
        ...OPTIONS,
        env: { PATH: process.env.PATH, LC_ALL: 'C', HOME: '/nonexistent' },
      })
      return judge(stdout, path, digests)
    } catch (error) {
      // Status 1 with this sentence is rpm's answer.
      const said = (error as { stdout?: unknown }).stdout
      return typeof said === 'string' && said.includes('is not owned by any package')
        ? { status: 'unowned' }
        : { status: 'unknown' }
    }
  }

  #where(): string[] {
    return this.#root === '/' ? [] : ['--root', this.#root]
  }
}

function judge(answer: string, path: string, digests: FileDigestPair): PackageFields {
  const [head = '', ...files] = answer.split('\n')
  const [name, epoch, version] = head.split('\t')
  if (!name || !version) return { status: 'unknown' }
  const shipped = files.find((line) => line.startsWith(`${path}\t`))?.slice(path.length + 1)
  const kind = DIGEST_BY_LENGTH[shipped?.length ?? 0]
  const status = kind === undefined ? 'unknown' : digests[kind] === shipped ? 'intact' : 'modified'
  return { name, version: epoch === undefined || epoch === '0' ? version : `${epoch}:${version}`, type: 'rpm', status }
}
