import { expect, it } from 'vitest'
import { findProgram, run } from './program.ts'

it('tells exit status and both outputs, and gives the input', async () => {
  expect(await run(['/bin/sh', '-c', 'cat; echo no >&2; exit 3'], { stdin: 'yes', timeoutMs: 5_000 })).toEqual({
    code: 3,
    stdout: 'yes',
    stderr: 'no\n',
  })
})

// A process that is traced stays unreaped, killed or not, until its tracer looks (ptrace(2)): to its parent it is one that cannot be ended.
const UNENDING = `
import ctypes, os, time
parent = os.getpid()
if os.fork() == 0:
    os.close(1); os.close(2)
    SEIZE = 0x4206
    ctypes.CDLL(None).ptrace(SEIZE, parent, 0, 0)
    time.sleep(4)
else:
    time.sleep(4)
`
const python = findProgram('python3')
if (python === undefined) console.warn('skipped: 1 test of a program that cannot be ended, python3 is not installed')

it.skipIf(python === undefined)(
  'waits for nobody past its time, not even for a program that cannot be ended',
  async () => {
    const start = performance.now()
    const ran = await run([python ?? '', '-c', UNENDING], { timeoutMs: 1_000 })
    expect(performance.now() - start).toBeLessThan(3_000)
    expect(ran).toMatchObject({ code: undefined, stderr: 'it did not end within 1000 ms' })
  },
)

it('says why a program could not be started', async () => {
  expect(await run(['/no/such/program'], { timeoutMs: 1_000 })).toMatchObject({
    code: undefined,
    stderr: expect.stringContaining('ENOENT') as string,
  })
})
