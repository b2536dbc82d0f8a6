import type { Event } from '@firebreak/shared/events/event.ts'

type PackageFields = NonNullable<NonNullable<NonNullable<Event['firebreak']>['executable']>['package']>

/** What was found out about an executable besides where it lies. */
export interface ExecutableFacts {
  readonly sha256: string | undefined
  readonly package: PackageFields | undefined
}
