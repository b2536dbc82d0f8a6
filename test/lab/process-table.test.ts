import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { childrenOf, identify, isAlive, killIfSame } from './process-table.ts'

describe.skipIf(process.platform !== 'linux')('knowing a process again', () => {
  it('kills the process that was meant and sees that it is gone', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    const identity = identify(child.pid ?? 0)
    if (identity === undefined) throw new Error('the child does not run')
    expect(childrenOf(process.pid)).toContain(identity.pid)
    expect(isAlive(identity)).toBe(true)
    expect(killIfSame(identity)).toBe(true)
    await once(child, 'exit')
    expect(isAlive(identity)).toBe(false)
    expect(killIfSame(identity)).toBe(false)
  })

  it('spares a process that only has the same number', () => {
    const self = identify(process.pid)
    expect(self).toBeDefined()
    expect(killIfSame({ pid: process.pid, startTicks: '1' }, 'SIGKILL')).toBe(false)
  })
})
