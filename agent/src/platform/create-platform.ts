import { createLinuxPlatform } from './linux/linux.ts'
import type { Platform } from './platform.ts'
import { createUnsupportedPlatform } from './unsupported.ts'

export function createPlatform(system: NodeJS.Platform = process.platform): Platform {
  return system === 'linux' ? createLinuxPlatform() : createUnsupportedPlatform(system)
}
