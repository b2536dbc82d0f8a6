/**
 * In a pid namespace of its own: ends a victim, gives its pid to an innocent, and then orders the victim's end;
 * once before the check, and once between the check and the deed.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { systemClock } from '@firebreak/shared/clock.ts'
import { createPlatform } from '../../platform/create-platform.ts'
import { entityIdOf, readBootId, readProcessIdentity } from '../../platform/linux/process-identity.ts'
import type { Order } from '../action.ts'
import { createKillProcess } from '../kill-process.ts'

const TRIES = 50
const kill = createKillProcess({
  platform: createPlatform(),
  stateDir: process.argv[2] ?? '',
  clock: systemClock,
  protects: () => false,
})

/** Nobody's child, so that init takes it away and its pid is free as soon as it is dead. */
function startVictim(): { readonly pid: number; readonly startTicks: number } {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'sleep 60 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' })
  const pid = Number(stdout)
  return { pid, startTicks: readProcessIdentity(pid)?.startTicks ?? 0 }
}

/** Ends the victim and gives its pid to an innocent: ns_last_pid (kernel.ns_last_pid) says where the next fork takes its pid from. */
function replace(pid: number): boolean {
  process.kill(pid, 'SIGKILL')
  for (let i = 0; i < TRIES; i++) {
    spawnSync('/bin/sleep', ['0.02'])
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1))
    const innocent = spawn('/bin/sleep', ['60'], { stdio: 'ignore' })
    if (innocent.pid === pid) return true
    innocent.kill('SIGKILL')
  }
  return false
}
const isRunning = (pid: number) => ['S', 'R', 'D'].includes(readProcessIdentity(pid)?.state ?? '')

try {
  readFileSync('/proc/sys/kernel/ns_last_pid')
} catch {
  console.log('skipped, the kernel has no ns_last_pid')
  process.exit()
}

const order = (
  pid: number,
  startTicks: number,
  step: (name: string) => void = () => undefined,
): Order<'kill-process'> => ({
  cmdId: 'c',
  type: 'kill-process',
  args: { pid, entity_id: entityIdOf(readBootId(), pid, startTicks), tree: true },
  step,
})

const early = startVictim()
const reused = replace(early.pid)
const checked = await kill.check(order(early.pid, early.startTicks))
const kept = reused && isRunning(early.pid)

const late = startVictim()
let swapped = false
const effect = await kill.apply(
  order(late.pid, late.startTicks, (name) => {
    if (name === 'kill.target-recorded') swapped = replace(late.pid)
  }),
  () => Promise.resolve(),
)
const alive = swapped && effect.state === 'failed' && isRunning(late.pid)
console.log(
  `checked: ${!checked.ok && kept ? 'refused' : 'NOT refused'}; raced: innocent ${alive ? 'alive' : 'NOT alive'}`,
)
process.exit()
