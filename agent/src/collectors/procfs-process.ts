/** One process as /proc shows it. Every reader gives undefined for what is gone or not ours to see. Source: proc(5). */
import { closeSync, openSync, readFileSync, readSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { type CommandLine, readCommandLine } from './command-line.ts'
import { textOfBytes } from './escaped-bytes.ts'

const PF_KTHREAD = 0x0020_0000
const DELETED = ' (deleted)'

export interface ProcessStat {
  readonly comm: string
  /** R, S, D, T, Z, X, ... */
  readonly state: string
  readonly ppid: number
  readonly startTicks: number
  readonly isKernelThread: boolean
  readonly ttyNumber: number
  /** Where its stack starts: given anew by each execve(2), inherited by fork(2). '0' where it is not ours to see. */
  readonly startStack: string
  /** As wait(2) tells it; only of use for a zombie. */
  readonly exitStatus: number
}

/** What execve(2) replaces. */
export interface ProcessImage {
  readonly name: string
  readonly executable: string | undefined
  readonly executableDeleted: boolean
  readonly executableStat: BigIntStats | undefined
  readonly commandLine: CommandLine | undefined
  readonly workingDirectory: string | undefined
  readonly uid: string | undefined
  readonly effectiveUid: string | undefined
}

export class ProcfsReader {
  readonly root: string
  readonly #scratch = Buffer.allocUnsafe(4_096)
  #images = 0
  #denied = 0

  constructor(root = '/proc') {
    this.root = root
  }

  /** How many images were read. */
  get images(): number {
    return this.#images
  }

  /** Of how many of them the executable was not ours to see. */
  get denied(): number {
    return this.#denied
  }

  /** Ids of all processes. Throws when /proc itself cannot be read. */
  pids(): number[] {
    const pids: number[] = []
    for (const name of readdirSync(this.root)) {
      const first = name.charCodeAt(0)
      if (first >= 0x31 && first <= 0x39) pids.push(Number(name))
    }
    return pids
  }

  stat(pid: number): ProcessStat | undefined {
    const bytes = this.#try(() => this.#readSmall(`${this.root}/${pid}/stat`))
    return bytes && parseProcessStat(bytes)
  }

  image(pid: number, comm: string): ProcessImage {
    const folder = `${this.root}/${pid}`
    this.#images += 1
    const exe = this.#link(`${folder}/exe`, () => {
      this.#denied += 1
    })
    const executableStat = exe === undefined ? undefined : this.#try(() => statSync(`${folder}/exe`, { bigint: true }))
    const deleted =
      exe !== undefined && exe.endsWith(DELETED) && (executableStat === undefined || executableStat.nlink === 0n)
    const executable = deleted ? exe.slice(0, -DELETED.length) : exe
    const [uid, effectiveUid] = this.#uids(folder)
    return {
      name: executable === undefined ? comm : executable.slice(executable.lastIndexOf('/') + 1) || comm,
      executable,
      executableDeleted: deleted,
      executableStat,
      commandLine: this.#try(() => readCommandLine(`${folder}/cmdline`)),
      workingDirectory: this.#link(`${folder}/cwd`),
      uid,
      effectiveUid,
    }
  }

  /** ms since the epoch at which this system booted, by its clock of now. */
  bootedAt(nowMs: number): number {
    return nowMs - Number.parseFloat(readFileSync(`${this.root}/uptime`, 'latin1')) * 1_000
  }

  #uids(folder: string): readonly [string | undefined, string | undefined] {
    const status = this.#try(() => readFileSync(`${folder}/status`, 'latin1'))
    // The name above it may hold anything but a newline, which the kernel escapes; so a line that starts so is this line.
    const ids = status?.match(/^Uid:\t(\d+)\t(\d+)\t/m)
    return [ids?.[1], ids?.[2]]
  }

  #link(path: string, whenDenied?: () => void): string | undefined {
    const target = this.#try(() => readlinkSync(path, 'buffer'), whenDenied)
    return target && textOfBytes(target)
  }

  #readSmall(path: string): Buffer {
    const fd = openSync(path, 'r')
    try {
      return this.#scratch.subarray(0, readSync(fd, this.#scratch, 0, this.#scratch.length, null))
    } finally {
      closeSync(fd)
    }
  }

  /** A process may end between two reads (ENOENT, ESRCH) or be another's (EACCES, EPERM). */
  #try<T>(read: () => T, whenDenied?: () => void): T | undefined {
    try {
      return read()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EACCES' || code === 'EPERM') whenDenied?.()
      else if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EINVAL' && code !== 'ENOTDIR') throw error
      return undefined
    }
  }
}

/** One line of proc_pid_stat(5). The name may hold spaces, parentheses and any byte: what counts follows the last `)`. */
export function parseProcessStat(line: Buffer): ProcessStat | undefined {
  const open = line.indexOf(0x28)
  const close = line.lastIndexOf(0x29)
  if (open < 0 || close < open) return undefined
  const fields = line.toString('latin1', close + 2).split(' ')
  const state = fields[0]
  const ppid = Number(fields[1])
  const startTicks = Number(fields[19])
  if (!state || !Number.isSafeInteger(ppid) || !Number.isSafeInteger(startTicks)) return undefined
  return {
    comm: textOfBytes(line.subarray(open + 1, close)),
    state,
    ppid,
    startTicks,
    isKernelThread: (Number(fields[6]) & PF_KTHREAD) !== 0,
    ttyNumber: Number(fields[4]) | 0,
    startStack: fields[25] ?? '0',
    exitStatus: Number.parseInt(fields[49] ?? '0', 10) || 0,
  }
}

/** Exit code as a shell shows it: 128 + n for death by signal n. */
export function exitCodeOf(waitStatus: number): number {
  const signal = waitStatus & 0x7f
  return signal === 0 ? (waitStatus >> 8) & 0xff : 128 + signal
}

/** Path of a terminal from its device number. Source: Documentation/admin-guide/devices.txt of Linux, majors 4, 5 and 136 to 143. */
export function ttyPathOf(ttyNumber: number): string | undefined {
  if (ttyNumber === 0) return undefined
  const major = (ttyNumber >>> 8) & 0xfff
  const minor = (ttyNumber & 0xff) | ((ttyNumber >>> 12) & 0xfff00)
  if (major >= 136 && major <= 143) return `/dev/pts/${(major - 136) * 256 + minor}`
  if (major === 4) return minor < 64 ? `/dev/tty${minor}` : `/dev/ttyS${minor - 64}`
  if (major === 5 && minor === 1) return '/dev/console'
  return undefined
}
