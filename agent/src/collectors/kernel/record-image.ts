/** What an exec record says of the new image, in the words of one look at /proc. */
import { FIELD_LIMITS } from '@firebreak/shared/events/event.ts'
import { type CommandLine, commandLineOf } from '../command-line.ts'
import { textOfBytes } from '../escaped-bytes.ts'
import { deviceOfKernel } from '../executable-file.ts'
import type { ProcessImage } from '../procfs-process.ts'
import type { SensorText } from './record-reader.ts'
import { NO_UID, type SensorActor, type SensorExec } from './sensor-records.ts'

const DELETED = ' (deleted)'

type Rights = Pick<ProcessImage, 'uid' | 'effectiveUid' | 'loginUid' | 'capabilities' | 'namespaces'>

export function rightsOf(actor: SensorActor): Rights {
  return {
    uid: String(actor.uid),
    effectiveUid: String(actor.euid),
    loginUid: actor.loginUid === NO_UID ? undefined : String(actor.loginUid),
    capabilities: actor.capEffective,
    namespaces: actor.namespaces,
  }
}

/** The same rights as the image has already. */
export function hasRights(image: ProcessImage, actor: SensorActor): boolean {
  return (
    image.capabilities === actor.capEffective &&
    image.uid === String(actor.uid) &&
    image.effectiveUid === String(actor.euid) &&
    image.namespaces !== undefined &&
    image.namespaces.mnt === actor.namespaces.mnt &&
    image.namespaces.pid === actor.namespaces.pid &&
    image.namespaces.net === actor.namespaces.net &&
    image.namespaces.user === actor.namespaces.user
  )
}

/** `whole` reads the command line of the living process, where the record holds only its beginning. */
export function imageOf(record: SensorExec, actor: SensorActor, whole: () => CommandLine | undefined): ProcessImage {
  const path = pathOf(record)
  const cuts = [
    ...cutOf('process.executable', record.executable),
    ...cutOf('process.working_directory', record.workingDirectory),
  ]
  return {
    name: path.slice(path.lastIndexOf('/') + 1) || textOfBytes(actor.comm),
    executable: path === '' ? undefined : path,
    executableDeleted: record.isDeleted || record.isMemfd,
    executableMemfd: record.isMemfd,
    file: {
      device: deviceOfKernel(record.file.device),
      inode: record.file.inode,
      mtimeNs: record.file.mtimeNs,
      ctimeNs: record.file.ctimeNs,
      size: record.file.size,
      mode: record.file.mode,
    },
    commandLine: commandLine(record, whole),
    workingDirectory: textOrNone(record.workingDirectory),
    cgroup: textOrNone(record.cgroupPath),
    ...rightsOf(actor),
    ...(cuts.length > 0 ? { cuts } : {}),
  }
}

/** Of a process of which nothing but its records is known. */
export function bareImage(actor: SensorActor): ProcessImage {
  return {
    name: textOfBytes(actor.comm),
    executable: undefined,
    executableDeleted: false,
    executableMemfd: false,
    file: undefined,
    commandLine: undefined,
    workingDirectory: undefined,
    cgroup: undefined,
    ...rightsOf(actor),
  }
}

export function textOrNone(text: SensorText): string | undefined {
  return text.bytes.length === 0 ? undefined : textOfBytes(text.bytes)
}

export function isWhole(text: SensorText): boolean {
  return text.total === text.bytes.length
}

function pathOf({ executable, isMemfd }: SensorExec): string {
  const text = textOfBytes(executable.bytes)
  const path = text.endsWith(DELETED) ? text.slice(0, -DELETED.length) : text
  return isMemfd && !path.startsWith('/') ? `/${path}` : path
}

function commandLine(record: SensorExec, whole: () => CommandLine | undefined): CommandLine {
  const { bytes } = record.arguments
  const stored = commandLineOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  if (isWhole(record.arguments)) return stored
  const read = whole()
  if (read && read.argsCount === record.argc && read.text.startsWith(stored.text.slice(0, FIELD_LIMITS.keyword)))
    return read
  const cut = { bytes: record.arguments.total ?? bytes.length }
  return { ...stored, argsCount: record.argc, textCut: cut, argsCut: cut }
}

/** `total` may not be known: then at least so many. */
export function cutOf(field: string, text: SensorText): readonly { readonly field: string; readonly bytes: number }[] {
  return isWhole(text) ? [] : [{ field, bytes: text.total ?? text.bytes.length }]
}
