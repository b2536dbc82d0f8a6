import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DpkgOwners } from './dpkg-owners.ts'
import type { ExecutableFacts } from './executable-facts.ts'
import { RpmOwners } from './rpm-owners.ts'

export type PackageFields = NonNullable<ExecutableFacts['package']>
export interface FileDigestPair {
  readonly sha256: string
  readonly md5: string
}

/** Says which package a file of this host belongs to, and whether it is as shipped. Never throws; what it cannot find out is `unknown`. */
export interface PackageOwners {
  of(path: string, digests: FileDigestPair): Promise<PackageFields>
}

const RPM_DATABASES = ['usr/lib/sysimage/rpm', 'var/lib/rpm']

/** Where dpkg keeps the host, a database of rpm's is nobody's: packages of the other kind are unpacked there, not installed. */
export function createPackageOwners(root: string): PackageOwners {
  if (existsSync(join(root, 'var/lib/dpkg/status'))) return new DpkgOwners(root)
  if (RPM_DATABASES.some((folder) => existsSync(join(root, folder)))) return new RpmOwners(root)
  return { of: async () => ({ status: 'unknown' }) }
}
