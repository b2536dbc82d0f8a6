#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises'
import { processIo } from './cli/io.ts'
import { runCli } from './cli/program.ts'

// A reader that has seen enough (`| head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const code = await runCli(process.argv.slice(2), {
  io: processIo(),
  now: () => Date.now(),
  sleep: async (ms) => await sleep(ms),
})
// `hunt` sets its own exit code; a zero here must not take it away.
if (code !== 0) process.exitCode = code
