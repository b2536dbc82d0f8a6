/** Reads one frame of the sensor, without its length, as `agent/sensor/src/records.h` lays it out. Strict: what is not exactly one record is refused. */
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import { RecordReader, type SensorText, ShortRecord } from './record-reader.ts'
import {
  NO_UID,
  SENSOR_PROTOCOL_VERSION,
  SENSOR_RECORD_MAX_BYTES,
  SENSOR_SOURCES,
  type SensorActor,
  type SensorClassStats,
  type SensorConfigured,
  type SensorExec,
  type SensorExit,
  type SensorFile,
  type SensorFork,
  type SensorHello,
  type SensorKernelCall,
  type SensorRecord,
  type SensorRecordBase,
  type SensorSocket,
  type SensorSourceState,
  type SensorStats,
} from './sensor-records.ts'

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
  readonly base: SensorRecordBase
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
