/** One controller a state directory. The lock is the kernel's (SQLite's on a file of its own), so it ends with the process, however that ends. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Fault } from '@firebreak/shared/result.ts'

/** Returns the way to give it back. Faults: `already_running`. */
export function lockStateDir(dir: string): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const lock = new DatabaseSync(join(dir, 'controller.lock'), { timeout: 0 })
  try {
    lock.exec('begin exclusive')
  } catch (cause) {
    lock.close()
    throw new Fault(
      'already_running',
      `another controller uses ${dir}; stop it first, or give this one a state_dir of its own`,
      {
        cause,
      },
    )
  }
  return () => lock.close()
}
