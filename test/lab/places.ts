import { homedir } from 'node:os'
import { join } from 'node:path'

/** Everything a lab makes outside of its own namespaces carries this prefix; nothing else is ever touched. */
export const PREFIX = 'fblab-'

const LAB_ID = /^fblab-[a-z0-9][a-z0-9-]{0,40}$/

export interface Places {
  /** Cached root images, downloaded packages, locks. */
  readonly cache: string
  /** One directory a lab. */
  readonly labs: string
}

/** Where the lab keeps its files: `$FIREBREAK_LAB_CACHE`, else `~/.cache/firebreak/lab`. */
export function labPlaces(environment: NodeJS.ProcessEnv = process.env): Places {
  const cache = environment['FIREBREAK_LAB_CACHE'] ?? join(homedir(), '.cache', 'firebreak', 'lab')
  return { cache, labs: join(cache, 'labs') }
}

export function isLabId(id: string): boolean {
  return LAB_ID.test(id)
}

export function imageDirectory(places: Places, hash: string): string {
  return join(places.cache, `root-${hash}`)
}
