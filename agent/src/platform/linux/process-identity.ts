/**
 * Which process is meant. A pid is given to another process as soon as its owner is gone (after 99 forks with a small pid_max),
 * so a process is named by boot, pid and start time together. Source: proc_pid_stat(5), fields 4 (ppid) and 22 (starttime).
 */
import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync, statSync } from 'node:fs'

/** What identifies one process; `startTicks` counts clock ticks (10 ms) since boot. */
export interface ProcessIdentity {
  readonly pid: number
  readonly ppid: number
  readonly startTicks: number
  /** One letter of proc_pid_stat(5): R, S, D, T, Z, ... */
  readonly state: string
  /** Device and inode of the executable; undefined for kernel threads and zombies. */
  readonly exe: { readonly path: string; readonly dev: number; readonly ino: number } | undefined
}

/** `process.entity_id` in events and commands: `<8 hex of sha256(boot id)>-<pid>-<start ticks>`. */
export function entityIdOf(bootId: string, pid: number, startTicks: number): string {
  return `${entityPrefixOf(bootId)}-${pid}-${startTicks}`
}

/** What all entity ids of one boot begin with. */
export function entityPrefixOf(bootId: string): string {
  return createHash('sha256').update(bootId.trim()).digest('hex').slice(0, 8)
}

/** Random at each boot. Source: random(4), /proc/sys/kernel/random/boot_id. */
export function readBootId(procPath = '/proc'): string {
  return readFileSync(`${procPath}/sys/kernel/random/boot_id`, 'latin1').trim()
}

/** Fields of one line of /proc/PID/stat. The name may hold spaces and parentheses: what counts follows the last `)`. */
export function parseStat(line: string): Pick<ProcessIdentity, 'ppid' | 'startTicks' | 'state'> | undefined {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  const ppid = Number(fields[1])
  const startTicks = Number(fields[19])
  if (!state || !Number.isInteger(ppid) || !Number.isInteger(startTicks)) return undefined
  return { ppid, startTicks, state }
}

/** Who has this pid now; undefined when nobody has. */
export function readProcessIdentity(pid: number, procPath = '/proc'): ProcessIdentity | undefined {
  const stat = orUndefined(() => parseStat(readFileSync(`${procPath}/${pid}/stat`, 'latin1')))
  if (!stat) return undefined
  const exe = orUndefined(() => {
    const { dev, ino } = statSync(`${procPath}/${pid}/exe`)
    return { path: readlinkSync(`${procPath}/${pid}/exe`), dev, ino }
  })
  return { pid, ...stat, exe }
}

/** A process may end between two reads of /proc (ENOENT, ESRCH) and a kernel thread has no executable; anything else is a fault. */
function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined
    throw error
  }
}
