import { readdirSync } from 'node:fs'
import { Fault, ok } from '@firebreak/shared/result.ts'
import type { Processes } from '../platform.ts'
import { readProcessIdentity } from './process-identity.ts'

export function createProcesses(procPath = '/proc'): Processes {
  return {
    supported: () => ok(),
    list: () =>
      readdirSync(procPath)
        .filter((name) => /^\d+$/.test(name))
        .map(Number),
    identity: (pid) => readProcessIdentity(pid, procPath),
    signal(pid, signal) {
      try {
        process.kill(pid, signal)
        return true
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code
        if (code === 'ESRCH') return false
        throw new Fault('not_permitted', `cannot send ${signal} to ${pid}: ${code ?? 'unknown'}`, { cause: error })
      }
    },
  }
}
