/** One controller a state directory. The lock is the kernel's (SQLite's on a file of its own), so it ends with the process, however that ends. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Fault } from '@firebreak/shared/result.ts'

/** Lies in the state directory while a restore moves things into place. */
export const RESTORE_MARK = 'restore-unfinished'

/** Returns the way to give it back. Faults: `already_running`, `restore_unfinished` (not for a restore itself: `overMark`). */
export function lockStateDir(dir: string, { overMark = false } = {}): () => void {
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
  if (!overMark && existsSync(join(dir, RESTORE_MARK))) {
    lock.close()
    throw new Fault(
      'restore_unfinished',
      `a restore into ${dir} was interrupted: run \`firebreak restore\` again, with --force`,
    )
  }
  return () => lock.close()
}
