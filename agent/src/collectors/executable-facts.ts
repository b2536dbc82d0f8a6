import type { Event } from '@firebreak/shared/events/event.ts'

export type PackageFields = NonNullable<NonNullable<NonNullable<Event['firebreak']>['executable']>['package']>

/** What was found out about an executable besides where it lies. */
export interface ExecutableFacts {
  readonly sha256: string | undefined
  readonly package: PackageFields | undefined
}

export interface FileDigestPair {
  readonly sha256: string
  readonly md5: string
}

/** Says which package a file of this host belongs to, and whether it is as shipped. Never throws; what it cannot find out is `unknown`. */
export interface PackageOwners {
  of(path: string, digests: FileDigestPair): Promise<PackageFields>
}
