import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Fault } from '@firebreak/shared/result.ts'

export interface FileLock extends AsyncDisposable {
  /** Throws when the process that holds the lock for us has ended. */
  assertHeld(): void
}

/** An exclusive lock between processes. The kernel takes it back when the holder dies, so a killed test leaves no stale lock:
 * flock(1) holds it while `cat` waits for the end of our pipe. */
export async function lockFile(path: string, timeoutMs: number): Promise<FileLock> {
  const holder = spawn(
    'flock',
    ['--exclusive', '--timeout', String(Math.ceil(timeoutMs / 1000)), path, 'sh', '-c', 'echo held; exec cat'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  const ended = new Promise<'ended'>((resolve) => {
    holder.once('error', () => resolve('ended'))
    holder.once('exit', () => resolve('ended'))
  })
  holder.stdin.on('error', () => {})
  const first = await Promise.race([once(holder.stdout, 'data'), ended])
  if (first === 'ended')
    throw new Fault('lab_locked', `no lock on ${path} within ${timeoutMs} ms: another process is still building`)
  return {
    assertHeld() {
      if (holder.exitCode !== null || holder.signalCode !== null)
        throw new Fault('lab_locked', `the lock on ${path} was lost`)
    },
    async [Symbol.asyncDispose]() {
      holder.stdin.end()
      await ended
    },
  }
}
