/** File facts as events. */
import type { Stats } from 'node:fs'
import { basename, dirname, extname } from 'node:path'
import type { Event } from '@firebreak/shared/events/event.ts'
import { isoOfMs } from './iso-time.ts'
import { present } from './present.ts'

export const FILE_ACTIONS = [
  'file-created',
  'file-written',
  'file-renamed',
  'file-deleted',
  'file-mode-changed',
  'file-owner-changed',
  /** Another name for a file that has one already. */
  'file-linked',
  'file-capability-changed',
] as const
export type FileAction = (typeof FILE_ACTIONS)[number]

type FileFields = NonNullable<Event['file']>

/** What is remembered of a watched file, to tell what changed and to know it again under another name. */
export interface FileState {
  readonly dev: number
  readonly ino: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtimeMs: number
  /** Time of its creation, ms; on file systems that do not keep it, the time of its last change. */
  readonly birthtimeMs: number
}

export function fileStateOf({ dev, ino, mode, uid, gid, size, mtimeMs, birthtimeMs }: Stats): FileState {
  return { dev, ino, mode, uid, gid, size, mtimeMs, birthtimeMs }
}

export const TYPE_OF_FILE_ACTION: { readonly [A in FileAction]: Event['event']['type'] } = {
  'file-created': ['creation'],
  'file-written': ['change'],
  'file-renamed': ['change'],
  'file-deleted': ['deletion'],
  'file-mode-changed': ['change'],
  'file-owner-changed': ['change'],
  'file-linked': ['creation'],
  'file-capability-changed': ['change'],
}

export function fileEvent(
  action: FileAction,
  at: string,
  path: string,
  state: FileState,
  hostName: string,
  extra: { readonly sha256?: string | undefined; readonly previous?: FileFields['previous'] } = {},
): Event {
  return {
    '@timestamp': at,
    event: {
      category: ['file'],
      type: TYPE_OF_FILE_ACTION[action],
      action,
      dataset: 'firebreak.file',
      provider: 'chokidar',
    },
    host: { name: hostName },
    file: {
      path,
      name: basename(path),
      directory: dirname(path),
      type: fileTypeOf(state.mode),
      size: state.size,
      mode: octalMode(state.mode),
      uid: String(state.uid),
      gid: String(state.gid),
      inode: String(state.ino),
      ...present({
        extension: extname(path).slice(1) || undefined,
        mtime: isoOfMs(state.mtimeMs),
        hash: extra.sha256 === undefined ? undefined : { sha256: extra.sha256 },
        previous: extra.previous,
      }),
    },
  }
}

export function octalMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0')
}

/** Source: inode(7), S_IFMT. */
export function fileTypeOf(mode: number): NonNullable<FileFields['type']> {
  switch (mode & 0o170000) {
    case 0o100000:
      return 'file'
    case 0o040000:
      return 'dir'
    case 0o120000:
      return 'symlink'
    default:
      return 'other'
  }
}
