import type { Station } from './cable.ts'

export interface HostOptions {
  /** Default true. False: the host is there, cabled and off; a capture on it can start before `boot()`. */
  readonly boot?: boolean
  /** Files written into the host's disk before its first boot, by absolute path. */
  readonly files?: Readonly<Record<string, string>>
  /** Default route over this member; without it only the lab's own network can be reached. */
  readonly gateway?: Station
  /** Default 60 s to multi-user. */
  readonly bootTimeoutMs?: number
}
