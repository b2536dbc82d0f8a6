import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DpkgOwners } from './dpkg-owners.ts'
import type { PackageOwners } from './executable-facts.ts'
import { RpmOwners } from './rpm-owners.ts'

const RPM_DATABASES = ['usr/lib/sysimage/rpm', 'var/lib/rpm']

/** Where dpkg keeps the host, a database of rpm's is nobody's: packages of the other kind are unpacked there, not installed. */
export function createPackageOwners(root: string): PackageOwners {
  if (existsSync(join(root, 'var/lib/dpkg/status'))) return new DpkgOwners(root)
  const database = RPM_DATABASES.find((folder) => existsSync(join(root, folder)))
  if (database !== undefined) return new RpmOwners(root, database)
  return { of: async () => ({ status: 'unknown' }) }
}
