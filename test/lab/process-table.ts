import { readFileSync, readdirSync } from 'node:fs'

/** A process that cannot be mistaken for a later one with the same number: pid and start time (clock ticks since boot, proc(5) stat field 22). */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: string
}

interface Stat {
  readonly state: string
  readonly parent: number
  readonly startTicks: string
}

function statOf(pid: number | string): Stat | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined // it ended between the listing and the read
  }
  // The name in parentheses may itself hold spaces and parentheses: fields are counted after the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent] = fields
  const startTicks = fields[19]
  if (state === undefined || parent === undefined || startTicks === undefined) return undefined
  return { state, parent: Number(parent), startTicks }
}

/** The identity of a running process, or nothing when it has ended (a zombie has ended). */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = statOf(pid)
  return stat === undefined || stat.state === 'Z' || stat.state === 'X'
    ? undefined
    : { pid, startTicks: stat.startTicks }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks
}

/** Kills the process if it still is the one that was meant; says whether a signal was sent. */
export function killIfSame(target: ProcessIdentity, signal: NodeJS.Signals = 'SIGKILL'): boolean {
  if (!isAlive(target)) return false
  try {
    process.kill(target.pid, signal)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw cause
  }
}

/** Direct children. /proc/PID/task/TID/children is not in every kernel, so the table is walked. */
export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && statOf(name)?.parent === parent)
    .map(Number)
}

/** The number the process has in its own, innermost PID namespace. */
export function pidInNamespace(pid: number): number | undefined {
  try {
    const line = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
    return line === undefined ? undefined : Number(line.trim().split(/\s+/).at(-1))
  } catch {
    return undefined
  }
}
