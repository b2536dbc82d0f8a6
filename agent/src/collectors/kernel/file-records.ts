/** Changes of files of the kernel as file events, with the process that made them. */
import { basename, dirname, extname } from 'node:path'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { EmitTally } from '../emit-tally.ts'
import { deviceOfKernel } from '../executable-file.ts'
import type { FileDigests } from '../file-digests.ts'
import { type FileAction, TYPE_OF_FILE_ACTION, fileTypeOf, octalMode } from '../file-events.ts'
import { isoOfNs } from '../iso-time.ts'
import { present } from '../present.ts'
import type { ProcessRecords } from './process-records.ts'
import { cutOf, textOrNone } from './record-image.ts'
import { type RecordTimes, isoOf } from './record-times.ts'
import { NO_UID, type SensorFile } from './sensor-records.ts'

type FileFields = NonNullable<Event['file']>

const ACTION_OF: { readonly [K in SensorFile['kind']]: FileAction } = {
  'file-create': 'file-created',
  'file-write': 'file-written',
  'file-rename': 'file-renamed',
  'file-unlink': 'file-deleted',
  'file-link': 'file-linked',
  'file-symlink': 'file-created',
  'file-chmod': 'file-mode-changed',
  'file-chown': 'file-owner-changed',
  'file-mkdir': 'file-created',
  'file-rmdir': 'file-deleted',
  'file-capability': 'file-capability-changed',
}

export interface FileRecordsDeps {
  readonly out: EmitTally
  readonly times: RecordTimes
  readonly hostName: string
  readonly processes: ProcessRecords
  readonly digests: FileDigests
  readonly isExcluded: (path: string) => boolean
  /** The agent's own: only there a path leads to the file that was meant. */
  readonly mountNamespace: number | undefined
}

export class FileRecords {
  readonly #deps: FileRecordsDeps
  readonly #telling = new Set<Promise<void>>()

  constructor(deps: FileRecordsDeps) {
    this.#deps = deps
  }

  take(record: SensorFile): void {
    const path = textOrNone(record.path)
    if (path === undefined) return
    const other = textOrNone(record.otherPath)
    const isMoved = record.kind === 'file-rename' || record.kind === 'file-link'
    const isSymlink = record.kind === 'file-symlink'
    const where = isMoved && other !== undefined ? other : path
    if (this.#deps.isExcluded(where)) return
    const file = this.#fields(record, where)
    if (isMoved) file.previous = { path }
    if (isSymlink && other !== undefined) file.target_path = other
    if (record.kind === 'file-chmod' && record.oldMode !== undefined)
      file.previous = { mode: octalMode(record.oldMode) }
    const event = this.#event(record, file)
    if (!this.#isDigestible(record)) {
      this.#deps.out.event(event)
      return
    }
    const telling = (async () => {
      const sha256 = await this.#deps.digests.of(where, Number(record.inode), record.size)
      this.#deps.out.event(sha256 === undefined ? event : { ...event, file: { ...file, hash: { sha256 } } })
    })().finally(() => this.#telling.delete(telling))
    this.#telling.add(telling)
  }

  async stop(): Promise<void> {
    this.#deps.digests.stop()
    await Promise.all(this.#telling)
  }

  #isDigestible(record: SensorFile): boolean {
    const { kind, actor, isSpelled, size } = record
    if (isSpelled || size === 0 || (record.mode & 0o170000) !== 0o100000) return false
    if (kind !== 'file-write' && kind !== 'file-rename' && kind !== 'file-link') return false
    return actor?.namespaces.mnt === this.#deps.mountNamespace
  }

  #fields(record: SensorFile, path: string): FileFields {
    const isKnown = !record.isSpelled
    const owner = (id: number) => (id === NO_UID ? undefined : String(id))
    return {
      path,
      name: basename(path),
      directory: dirname(path),
      ...present({
        type: typeOfRecord(record),
        extension: extname(path).slice(1) || undefined,
        mode: record.mode === 0 ? undefined : octalMode(record.mode),
        uid: isKnown || record.kind === 'file-chown' ? owner(record.ownerUid) : undefined,
        gid: isKnown || record.kind === 'file-chown' ? owner(record.ownerGid) : undefined,
        size: isKnown ? record.size : undefined,
        inode: isKnown ? String(record.inode) : undefined,
        device: isKnown ? deviceOfKernel(record.device) : undefined,
        mtime: isKnown ? isoOfNs(record.mtimeNs) : undefined,
      }),
    }
  }

  #event(record: SensorFile, file: FileFields): Event {
    const cuts = [...cutOf('file.path', record.path), ...cutOf('file.target_path', record.otherPath)]
    const reasons = [
      record.setuidBits ? 'it runs in the rights of its owner or group' : undefined,
      record.isSpelled ? 'the path is as the program spelled it' : undefined,
    ].filter((reason) => reason !== undefined)
    return {
      '@timestamp': isoOf(this.#deps.times.wallMs(record.monotonicNs)),
      event: {
        category: ['file'],
        type: TYPE_OF_FILE_ACTION[ACTION_OF[record.kind]],
        action: ACTION_OF[record.kind],
        dataset: 'firebreak.file',
        provider: 'kernel',
        ...present({ reason: reasons.length > 0 ? reasons.join('; ') : undefined }),
      },
      host: { name: this.#deps.hostName },
      file,
      ...this.#deps.processes.doer(record.actor),
      ...(cuts.length > 0 ? { firebreak: { truncated: cuts } } : {}),
    }
  }
}

function typeOfRecord({ kind, mode }: SensorFile): FileFields['type'] | undefined {
  switch (kind) {
    case 'file-symlink':
      return 'symlink'
    case 'file-mkdir':
    case 'file-rmdir':
      return 'dir'
    default:
      return (mode & 0o170000) === 0 ? undefined : fileTypeOf(mode)
  }
}
