/**
 * Records of the kernel sensor, as typed values. The layout is `agent/sensor/src/records.h`; the comments there tell what each field
 * means. `decodeSensorRecord` takes one frame without its length and is strict: anything that is not exactly one record is refused.
 */
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import { RecordReader, type SensorText, ShortRecord } from './record-reader.ts'

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
  readonly namespaces: SensorNamespaces
  /** The pid as the process itself sees it. */
  readonly innerPid: number
  readonly capEffective: bigint
  readonly comm: Uint8Array
}

export interface SensorNamespaces {
  readonly pid: number
  readonly mnt: number
  readonly net: number
  readonly user: number
  readonly uts: number
  readonly ipc: number
  readonly cgroup: number
}

interface Base {
  /** Of this CPU and class, from 1, counted also for what was dropped. */
  readonly seq: bigint
  readonly cpu: number
  readonly monotonicNs: bigint
  readonly boottimeNs: bigint
}

/** Records of the kernel; `actor` is undefined for a socket whose owner is not known. */
interface KernelRecord extends Base {
  readonly class: SensorClass
  readonly actor: SensorActor | undefined
}

export interface SensorHello extends Base {
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

export interface SensorStats extends Base {
  readonly kind: 'stats'
  readonly classes: Readonly<Record<SensorClass, SensorClassStats>>
}

/** Since the sensor started. What is between `submitted` and `forwarded` waits in the ring. */
export interface SensorClassStats {
  readonly submitted: number
  readonly dropped: number
  readonly forwarded: number
}

export interface SensorConfigured extends Base {
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

export type SensorRecordRefusal = 'too_short' | 'wrong_version' | 'unknown_kind' | 'wrong_length' | 'bad_value'

const SOCKET_KINDS: Readonly<Record<number, SensorSocket['kind']>> = {
  32: 'tcp-connect',
  33: 'tcp-established',
  34: 'tcp-accept',
  35: 'tcp-listen',
  36: 'tcp-close',
  37: 'udp-flow',
  38: 'dns-sent',
  39: 'dns-received',
}
const FILE_KINDS: Readonly<Record<number, SensorFile['kind']>> = {
  48: 'file-create',
  49: 'file-write',
  50: 'file-rename',
  51: 'file-unlink',
  52: 'file-link',
  53: 'file-symlink',
  54: 'file-chmod',
  55: 'file-chown',
  56: 'file-mkdir',
  57: 'file-rmdir',
  58: 'file-capability',
}
const KERNEL_CALL_KINDS: Readonly<Record<number, SensorKernelCall['kind']>> = {
  64: 'memfd-create',
  65: 'ptrace',
  66: 'process-write',
  67: 'module-load',
  68: 'module-unload',
  69: 'bpf-load',
  70: 'mount',
  71: 'unmount',
  72: 'credentials',
  73: 'setns',
  74: 'unshare',
  75: 'pivot-root',
}

/** One record; never throws, never keeps `frame` (strings are copied). */
export function decodeSensorRecord(frame: Uint8Array): Result<SensorRecord, SensorRecordRefusal> {
  if (frame.length > SENSOR_RECORD_MAX_BYTES) return refuse('wrong_length', `${frame.length} bytes are no record`)
  const reader = new RecordReader(frame)
  try {
    const version = reader.u16()
    if (version !== SENSOR_PROTOCOL_VERSION)
      return refuse('wrong_version', `version ${version}, this agent reads ${SENSOR_PROTOCOL_VERSION}`)
    const kind = reader.u16()
    const record = decodeKind(kind, readHeader(reader), reader)
    if (!record) return refuse('unknown_kind', `kind ${kind}`)
    if (reader.rest > 0) return refuse('wrong_length', `${reader.rest} bytes after the ${record.kind} record`)
    return ok(record)
  } catch (error) {
    if (error instanceof ShortRecord) return refuse('too_short', error.message)
    if (error instanceof BadValue) return refuse('bad_value', error.message)
    throw error
  }
}

class BadValue extends Error {}

interface Header {
  readonly flags: number
  readonly base: Base
  readonly actor: SensorActor | undefined
}

const NO_ACTOR = 0x1
const PATH_SPELLED = 0x2
const SETUID_BITS = 0x4

function readHeader(reader: RecordReader): Header {
  const flags = reader.u32()
  const seq = reader.u64()
  const monotonicNs = reader.u64()
  const boottimeNs = reader.u64()
  const cpu = reader.u32()
  const actor: SensorActor = {
    tid: reader.u32(),
    pid: reader.u32(),
    ppid: reader.u32(),
    startBoottimeNs: reader.u64(),
    parentStartBoottimeNs: reader.u64(),
    uid: reader.u32(),
    gid: reader.u32(),
    euid: reader.u32(),
    egid: reader.u32(),
    loginUid: reader.u32(),
    auditSession: reader.u32(),
    session: reader.u32(),
    tty: reader.u32(),
    cgroup: reader.u64(),
    namespaces: {
      pid: reader.u32(),
      mnt: reader.u32(),
      net: reader.u32(),
      user: reader.u32(),
      uts: reader.u32(),
      ipc: reader.u32(),
      cgroup: reader.u32(),
    },
    innerPid: reader.u32(),
    capEffective: reader.u64(),
    comm: untilNul(reader.bytes(16)),
  }
  return { flags, base: { seq, cpu, monotonicNs, boottimeNs }, actor: flags & NO_ACTOR ? undefined : actor }
}

function decodeKind(kind: number, header: Header, reader: RecordReader): SensorRecord | undefined {
  switch (kind) {
    case 1:
      return readHello(header, reader)
    case 2:
      return readStats(header, reader)
    case 3:
      return readConfigured(header, reader)
    case 16:
      return readExec(header, reader)
    case 17:
      return readExit(header, reader)
    case 18:
      return readFork(header, reader)
  }
  const socket = SOCKET_KINDS[kind]
  if (socket) return readSocket(socket, header, reader)
  const file = FILE_KINDS[kind]
  if (file) return readFile(file, header, reader)
  const call = KERNEL_CALL_KINDS[kind]
  return call && readKernelCall(call, header, reader)
}

function readHello({ base }: Header, reader: RecordReader): SensorHello {
  const pid = reader.u32()
  const pidNamespace = reader.u32()
  const sources = reader.u32()
  const ringBytes = { process: reader.u32(), networkAndFile: reader.u32() }
  reader.u32()
  const sensorVersion = reader.text()
  const kernelRelease = reader.text()
  if (sources > SENSOR_SOURCES.length) throw new BadValue(`${sources} sources, ${SENSOR_SOURCES.length} are known`)
  const states: SensorSourceState[] = []
  for (let n = 0; n < sources; n++) {
    const id = reader.u32()
    const source = SENSOR_SOURCES[id]
    if (source === undefined) throw new BadValue(`source ${id}`)
    const attached = flag(reader.u32())
    const error = reader.u32()
    reader.u32()
    states.push({ source, attached, error, why: Buffer.from(reader.text().bytes).toString('utf8') })
  }
  return { ...base, kind: 'hello', pid, pidNamespace, sensorVersion, kernelRelease, ringBytes, sources: states }
}

function readStats({ base }: Header, reader: RecordReader): SensorStats {
  const one = (): SensorClassStats => ({
    submitted: reader.count(),
    dropped: reader.count(),
    forwarded: reader.count(),
  })
  return { ...base, kind: 'stats', classes: { process: one(), network: one(), file: one() } }
}

function readConfigured({ base }: Header, reader: RecordReader): SensorConfigured {
  const count = reader.u32()
  reader.u32()
  const paths: { path: SensorText; error: number }[] = []
  for (let n = 0; n < count; n++) {
    const error = reader.u32()
    paths.push({ error, path: reader.text() })
  }
  return { ...base, kind: 'configured', paths }
}

function readExec({ base, actor }: Header, reader: RecordReader): SensorExec {
  const inode = reader.u64()
  const mtimeNs = reader.u64()
  const ctimeNs = reader.u64()
  const size = reader.count()
  const device = reader.u32()
  const mode = reader.u32()
  const file = {
    inode,
    mtimeNs,
    ctimeNs,
    size,
    device,
    mode,
    ownerUid: reader.u32(),
    ownerGid: reader.u32(),
    links: reader.u32(),
  }
  const flags = reader.u32()
  return {
    ...base,
    kind: 'exec',
    class: 'process',
    actor,
    file,
    isMemfd: (flags & 1) !== 0,
    isDeleted: (flags & 2) !== 0,
    gainedPrivileges: (flags & 4) !== 0,
    isScript: (flags & 8) !== 0,
    argc: reader.u32(),
    oldTid: reader.u32(),
    capPermitted: reader.u64(),
    executable: reader.text(),
    fileName: reader.text(),
    interpreter: reader.text(),
    workingDirectory: reader.text(),
    arguments: reader.text(),
    cgroupPath: reader.text(),
  }
}

function readExit({ base, actor }: Header, reader: RecordReader): SensorExit {
  const code = reader.u32()
  const signal = reader.u32()
  const coreDumped = flag(reader.u32())
  reader.u32()
  return { ...base, kind: 'exit', class: 'process', actor, code, signal, coreDumped, runtimeNs: reader.u64() }
}

function readFork({ base, actor }: Header, reader: RecordReader): SensorFork {
  const callerPid = reader.u32()
  const newNamespaces = flag(reader.u32())
  const callerStartBoottimeNs = reader.u64()
  return { ...base, kind: 'fork', class: 'process', actor, callerPid, callerStartBoottimeNs, newNamespaces }
}

function readSocket(kind: SensorSocket['kind'], { base, actor }: Header, reader: RecordReader): SensorSocket {
  const family = FAMILIES[reader.u16()]
  const protocol = PROTOCOLS[reader.u16()]
  if (!family || !protocol) throw new BadValue('a socket of another family or protocol')
  const localPort = reader.u16()
  const remotePort = reader.u16()
  const length = family === 'ipv4' ? 4 : 16
  const localAddress = reader.bytes(16).subarray(0, length)
  const remoteAddress = reader.bytes(16).subarray(0, length)
  const socketId = reader.u64()
  const bytesSent = reader.count()
  const bytesReceived = reader.count()
  const durationNs = reader.u64()
  const error = reader.u32()
  const oldState = reader.u32()
  const netNamespace = reader.u32()
  reader.u32()
  return {
    ...base,
    kind,
    class: 'network',
    actor,
    family,
    protocol,
    localPort,
    remotePort,
    localAddress,
    remoteAddress,
    socketId,
    bytesSent,
    bytesReceived,
    durationNs,
    error,
    oldState,
    netNamespace,
    payload: reader.text(),
  }
}

const FAMILIES: Readonly<Record<number, SensorSocket['family']>> = { 2: 'ipv4', 10: 'ipv6' }
const PROTOCOLS: Readonly<Record<number, SensorSocket['protocol']>> = { 6: 'tcp', 17: 'udp' }

function readFile(kind: SensorFile['kind'], { base, actor, flags }: Header, reader: RecordReader): SensorFile {
  const inode = reader.u64()
  const size = reader.count()
  const mtimeNs = reader.u64()
  const device = reader.u32()
  const mode = reader.u32()
  const ownerUid = reader.u32()
  const ownerGid = reader.u32()
  const links = reader.u32()
  const openFlags = reader.u32()
  const oldMode = reader.u32()
  reader.u32()
  return {
    ...base,
    kind,
    class: 'file',
    actor,
    isSpelled: (flags & PATH_SPELLED) !== 0,
    setuidBits: (flags & SETUID_BITS) !== 0,
    inode,
    size,
    mtimeNs,
    device,
    mode,
    ownerUid,
    ownerGid,
    links,
    openFlags,
    oldMode: oldMode === NO_UID ? undefined : oldMode,
    path: reader.text(),
    otherPath: reader.text(),
  }
}

function readKernelCall(
  kind: SensorKernelCall['kind'],
  { base, actor }: Header,
  reader: RecordReader,
): SensorKernelCall {
  const result = reader.i64()
  const args = [reader.u64(), reader.u64(), reader.u64(), reader.u64()] as const
  const pid = reader.u32()
  const uid = reader.u32()
  const gid = reader.u32()
  const euid = reader.u32()
  const egid = reader.u32()
  reader.u32()
  const startBoottimeNs = reader.u64()
  const old = { uid, gid, euid, egid, capEffective: reader.u64() }
  const target = pid === 0 ? undefined : { pid, startBoottimeNs }
  const name = reader.text()
  const path = reader.text()
  const detail = reader.text()
  return { ...base, kind, class: 'process', actor, result, args, target, old, name, path, detail }
}

function flag(value: number): boolean {
  if (value > 1) throw new BadValue(`${value} is neither yes nor no`)
  return value === 1
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}
