/** Records of the kernel sensor, as typed values. `agent/sensor/src/records.h` tells what each field means; `decode-record.ts` reads them. */
import type { Namespaces } from '../procfs-process.ts'
import type { SensorText } from './record-reader.ts'

export const SENSOR_PROTOCOL_VERSION = 1
export const SENSOR_RECORD_MAX_BYTES = 65_536
export const NO_UID = 0xffff_ffff

/** Classes whose records share a ring and a count of drops, in the order of `fb_stats`. */
export const SENSOR_CLASSES = ['process', 'network', 'file'] as const
export type SensorClass = (typeof SENSOR_CLASSES)[number]

/** In the order of `enum fb_source_id`. */
export const SENSOR_SOURCES = [
  'exec',
  'exit',
  'fork',
  'tcp',
  'accept',
  'udp',
  'dns',
  'file',
  'file-write',
  'kernel-call',
  'credentials',
] as const
export type SensorSource = (typeof SENSOR_SOURCES)[number]

/** Who did it. Pids as the sensor's pid namespace sees them; 0: outside of it. */
export interface SensorActor {
  readonly pid: number
  readonly tid: number
  readonly ppid: number
  /** Since boot; divided by 10 ms it is field 22 of /proc/PID/stat. */
  readonly startBoottimeNs: bigint
  readonly parentStartBoottimeNs: bigint
  readonly uid: number
  readonly gid: number
  readonly euid: number
  readonly egid: number
  /** `NO_UID`: never logged in. */
  readonly loginUid: number
  readonly auditSession: number
  readonly session: number
  /** major << 20 | minor; 0: none. */
  readonly tty: number
  readonly cgroup: bigint
  readonly namespaces: Namespaces
  /** The pid as the process itself sees it. */
  readonly innerPid: number
  readonly capEffective: bigint
  readonly comm: Uint8Array
}

export interface SensorRecordBase {
  /** Of this CPU and class, from 1, counted also for what was dropped. */
  readonly seq: bigint
  readonly cpu: number
  readonly monotonicNs: bigint
  readonly boottimeNs: bigint
}

/** Records of the kernel; `actor` is undefined for a socket whose owner is not known. */
interface KernelRecord extends SensorRecordBase {
  readonly class: SensorClass
  readonly actor: SensorActor | undefined
}

export interface SensorHello extends SensorRecordBase {
  readonly kind: 'hello'
  readonly pid: number
  readonly pidNamespace: number
  readonly sensorVersion: SensorText
  readonly kernelRelease: SensorText
  readonly ringBytes: { readonly process: number; readonly networkAndFile: number }
  readonly sources: readonly SensorSourceState[]
}

export interface SensorSourceState {
  readonly source: SensorSource
  readonly attached: boolean
  /** errno. */
  readonly error: number
  readonly why: string
}

export interface SensorStats extends SensorRecordBase {
  readonly kind: 'stats'
  readonly classes: Readonly<Record<SensorClass, SensorClassStats>>
}

/** Since the sensor started. What is between `submitted` and `forwarded` waits in the ring. */
export interface SensorClassStats {
  readonly submitted: number
  readonly dropped: number
  readonly forwarded: number
}

export interface SensorConfigured extends SensorRecordBase {
  readonly kind: 'configured'
  readonly paths: readonly { readonly path: SensorText; readonly error: number }[]
}

export interface SensorExec extends KernelRecord {
  readonly kind: 'exec'
  readonly file: {
    readonly inode: bigint
    readonly device: number
    readonly mtimeNs: bigint
    readonly ctimeNs: bigint
    readonly size: number
    readonly mode: number
    readonly ownerUid: number
    readonly ownerGid: number
    readonly links: number
  }
  readonly isMemfd: boolean
  readonly isDeleted: boolean
  /** Set-user-id, set-group-id or file capabilities took effect. */
  readonly gainedPrivileges: boolean
  /** `fileName` is a script, `executable` its interpreter. */
  readonly isScript: boolean
  readonly argc: number
  readonly oldTid: number
  readonly capPermitted: bigint
  readonly executable: SensorText
  /** As given to execve. */
  readonly fileName: SensorText
  readonly interpreter: SensorText
  readonly workingDirectory: SensorText
  /** Each argument ends with a NUL. */
  readonly arguments: SensorText
  readonly cgroupPath: SensorText
}

export interface SensorExit extends KernelRecord {
  readonly kind: 'exit'
  readonly code: number
  /** 0: it ended by itself. */
  readonly signal: number
  readonly coreDumped: boolean
  readonly runtimeNs: bigint
}

/** `actor` is the child. */
export interface SensorFork extends KernelRecord {
  readonly kind: 'fork'
  readonly callerPid: number
  readonly callerStartBoottimeNs: bigint
  readonly newNamespaces: boolean
}

export interface SensorSocket extends KernelRecord {
  readonly kind:
    | 'tcp-connect'
    | 'tcp-established'
    | 'tcp-accept'
    | 'tcp-listen'
    | 'tcp-close'
    | 'udp-flow'
    | 'dns-sent'
    | 'dns-received'
  readonly family: 'ipv4' | 'ipv6'
  readonly protocol: 'tcp' | 'udp'
  readonly localPort: number
  readonly remotePort: number
  /** 4 or 16 bytes. */
  readonly localAddress: Uint8Array
  readonly remoteAddress: Uint8Array
  readonly socketId: bigint
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly durationNs: bigint
  readonly error: number
  readonly oldState: number
  readonly netNamespace: number
  /** DNS: the datagram. */
  readonly payload: SensorText
}

export interface SensorFile extends KernelRecord {
  readonly kind:
    | 'file-create'
    | 'file-write'
    | 'file-rename'
    | 'file-unlink'
    | 'file-link'
    | 'file-symlink'
    | 'file-chmod'
    | 'file-chown'
    | 'file-mkdir'
    | 'file-rmdir'
    | 'file-capability'
  /** The path is as the program spelled it (made absolute): symbolic links in it were not followed, inode, size, times are 0. */
  readonly isSpelled: boolean
  readonly setuidBits: boolean
  readonly inode: bigint
  readonly size: number
  readonly mtimeNs: bigint
  readonly device: number
  readonly mode: number
  readonly ownerUid: number
  readonly ownerGid: number
  readonly links: number
  readonly openFlags: number
  /** undefined: not known. */
  readonly oldMode: number | undefined
  readonly path: SensorText
  /** rename, link: the new name; symlink: what it points to. */
  readonly otherPath: SensorText
}

export interface SensorKernelCall extends KernelRecord {
  readonly kind:
    | 'memfd-create'
    | 'ptrace'
    | 'process-write'
    | 'module-load'
    | 'module-unload'
    | 'bpf-load'
    | 'mount'
    | 'unmount'
    | 'credentials'
    | 'setns'
    | 'unshare'
    | 'pivot-root'
  /** What the call returned; below zero: -errno. */
  readonly result: bigint
  readonly args: readonly [bigint, bigint, bigint, bigint]
  readonly target: { readonly pid: number; readonly startBoottimeNs: bigint } | undefined
  readonly old: {
    readonly uid: number
    readonly gid: number
    readonly euid: number
    readonly egid: number
    readonly capEffective: bigint
  }
  readonly name: SensorText
  readonly path: SensorText
  readonly detail: SensorText
}

export type SensorRecord =
  | SensorHello
  | SensorStats
  | SensorConfigured
  | SensorExec
  | SensorExit
  | SensorFork
  | SensorSocket
  | SensorFile
  | SensorKernelCall
