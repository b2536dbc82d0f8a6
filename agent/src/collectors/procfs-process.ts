/** One process as /proc shows it. Every reader gives undefined for what is gone or not ours to see. Source: proc(5). */
import { closeSync, openSync, readFileSync, readSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { type CommandLine, readCommandLine } from './command-line.ts'
import { type ExecutableFile, executableFileOf } from './executable-file.ts'
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
  /** Pid of the leader of its session. */
  readonly session: number
  readonly ttyNumber: number
  /** Where its stack starts: given anew by each execve(2), inherited by fork(2). '0' where it is not ours to see. */
  readonly startStack: string
  /** As wait(2) tells it; only of use for a zombie. */
  readonly exitStatus: number
}

/** What execve(2) replaces, and in whose rights and where it runs. */
export interface ProcessImage {
  readonly name: string
  readonly executable: string | undefined
  readonly executableDeleted: boolean
  /** It lies in memory only, memfd_create(2). */
  readonly executableMemfd: boolean
  readonly file: ExecutableFile | undefined
  readonly commandLine: CommandLine | undefined
  readonly workingDirectory: string | undefined
  readonly uid: string | undefined
  readonly effectiveUid: string | undefined
  /** Undefined: nobody logged in. */
  readonly loginUid: string | undefined
  /** Bits of capabilities(7). */
  readonly capabilities: bigint | undefined
  readonly cgroup: string | undefined
  readonly namespaces: Namespaces | undefined
  /** Paths that are not whole. */
  readonly cuts?: readonly { readonly field: string; readonly bytes: number }[] | undefined
}
/** Inode numbers, namespaces(7). */
export interface Namespaces {
  readonly pid: number
  readonly mnt: number
  readonly net: number
  readonly user: number
  readonly uts: number
  readonly ipc: number
  readonly cgroup: number
}
const NO_LOGIN = '4294967295'
const MEMFD = '/memfd:'

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

  /** In effect. */
  capabilities(pid: number): bigint | undefined {
    return this.#rights(`${this.root}/${pid}`).capabilities
  }

  namespaces(pid: number | 'self'): Namespaces | undefined {
    const inode = (name: string) => this.#try(() => statSync(`${this.root}/${pid}/ns/${name}`).ino)
    const all = { pid: inode('pid'), mnt: inode('mnt'), net: inode('net'), user: inode('user') }
    const rest = { uts: inode('uts'), ipc: inode('ipc'), cgroup: inode('cgroup') }
    const found = { ...all, ...rest }
    return Object.values(found).every((one) => one !== undefined) ? (found as Namespaces) : undefined
  }

  /** Path of the file that it runs. */
  executable(pid: number): string | undefined {
    const exe = this.#link(`${this.root}/${pid}/exe`)
    return exe?.endsWith(DELETED) ? exe.slice(0, -DELETED.length) : exe
  }

  image(pid: number, comm: string): ProcessImage {
    const folder = `${this.root}/${pid}`
    this.#images += 1
    const exe = this.#link(`${folder}/exe`, () => {
      this.#denied += 1
    })
    const stat = exe === undefined ? undefined : this.#try(() => statSync(`${folder}/exe`, { bigint: true }))
    const deleted = exe !== undefined && exe.endsWith(DELETED) && (stat === undefined || stat.nlink === 0n)
    const executable = deleted ? exe.slice(0, -DELETED.length) : exe
    const { uid, effectiveUid, capabilities } = this.#rights(folder)
    return {
      name: executable === undefined ? comm : executable.slice(executable.lastIndexOf('/') + 1) || comm,
      executable,
      executableDeleted: deleted,
      executableMemfd: deleted && (executable?.startsWith(MEMFD) ?? false),
      file: stat && executableFileOf(stat),
      commandLine: this.#try(() => readCommandLine(`${folder}/cmdline`)),
      workingDirectory: this.#link(`${folder}/cwd`),
      uid,
      effectiveUid,
      loginUid: this.#loginUid(folder),
      capabilities,
      cgroup: this.#cgroup(folder),
      namespaces: undefined,
    }
  }

  /** ms since the epoch at which this system booted, by its clock of now. */
  bootedAt(nowMs: number): number {
    return nowMs - Number.parseFloat(readFileSync(`${this.root}/uptime`, 'latin1')) * 1_000
  }

  #rights(folder: string): Pick<ProcessImage, 'uid' | 'effectiveUid' | 'capabilities'> {
    const status = this.#try(() => readFileSync(`${folder}/status`, 'latin1'))
    // The name above it may hold anything but a newline, which the kernel escapes; so a line that starts so is this line.
    const ids = status?.match(/^Uid:\t(\d+)\t(\d+)\t/m)
    const effective = status?.match(/^CapEff:\t([0-9a-f]{1,16})$/m)?.[1]
    return {
      uid: ids?.[1],
      effectiveUid: ids?.[2],
      capabilities: effective === undefined ? undefined : BigInt(`0x${effective}`),
    }
  }

  #loginUid(folder: string): string | undefined {
    const text = this.#try(() => this.#readSmall(`${folder}/loginuid`).toString('latin1').trim())
    return text === undefined || text === '' || text === NO_LOGIN ? undefined : text
  }

  /** Of the unified hierarchy, else of the first that names one. Source: cgroups(7), /proc/PID/cgroup. */
  #cgroup(folder: string): string | undefined {
    const lines = this.#try(() => textOfBytes(this.#readSmall(`${folder}/cgroup`)))?.split('\n')
    const line = lines?.find((one) => one.startsWith('0::')) ?? lines?.find((one) => one.includes(':/'))
    return line?.slice(line.indexOf(':', line.indexOf(':') + 1) + 1)
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
    session: Number(fields[3]) || 0,
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

/** Path of a terminal from its device number as /proc/PID/stat tells it. */
export function ttyPathOf(ttyNumber: number): string | undefined {
  return terminalPath((ttyNumber >>> 8) & 0xfff, (ttyNumber & 0xff) | ((ttyNumber >>> 12) & 0xfff00))
}

/** Source: Documentation/admin-guide/devices.txt of Linux, majors 4, 5 and 136 to 143. */
export function terminalPath(major: number, minor: number): string | undefined {
  if (major >= 136 && major <= 143) return `/dev/pts/${(major - 136) * 256 + minor}`
  if (major === 4 && minor > 0) return minor < 64 ? `/dev/tty${minor}` : `/dev/ttyS${minor - 64}`
  if (major === 5 && minor === 1) return '/dev/console'
  return undefined
}
