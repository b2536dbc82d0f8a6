import { getSystemErrorMap } from 'node:util'

/** ECONNREFUSED for 111; the number itself where it has no name. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}`
}
