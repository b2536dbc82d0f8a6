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

/** Both kinds, where both are: a file that dpkg does not know may be one of rpm's. */
export function createPackageOwners(root: string): PackageOwners {
  const dpkg = new DpkgOwners(root)
  const rpm = new RpmOwners(root)
  return {
    async of(path, digests) {
      const kinds: PackageOwners[] = []
      if (existsSync(join(root, 'var/lib/dpkg/info'))) kinds.push(dpkg)
      if (RPM_DATABASES.some((folder) => existsSync(join(root, folder)))) kinds.push(rpm)
      let found: PackageFields = { status: 'unknown' }
      for (const kind of kinds) {
        found = await kind.of(path, digests)
        if (found.name !== undefined) return found
      }
      return found
    },
  }
}
