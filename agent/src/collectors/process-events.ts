/** Process facts as events: what the sensor or one look at /proc knows about one process, in ECS words. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AccountNames } from './accounts.ts'
import { capabilityNames } from './capabilities.ts'
import { type Cut, cutOfBytes } from './command-line.ts'
import { containerIdOf } from './container-id.ts'
import type { ExecutableFacts } from './executable-facts.ts'
import { isoOfNs } from './iso-time.ts'
import { present } from './present.ts'
import type { Namespaces, ProcessImage } from './procfs-process.ts'

/**
 * `fork` and `exec` in the words of Elastic Defend: a child that still runs its parent's image, and a process that took another.
 * `process-started` is both at once, as one look saw it. `process-existing` ran before the agent did.
 */
export const PROCESS_ACTIONS = [
  'process-existing',
  'process-started',
  'fork',
  'exec',
  'process-ended',
  /** What became known of the executable after its start was told: digest, package. */
  'executable-identified',
] as const
export type ProcessAction = (typeof PROCESS_ACTIONS)[number]

type ProcessFields = NonNullable<Event['process']>
type Ancestor = NonNullable<ProcessFields['ancestors']>[number]

const MAX_ANCESTORS = 16
/** A chain of ancestors is repeated in every event below them. */
const ANCESTOR_PATH_UNITS = 1_024
const PARENT_COMMAND_UNITS = 8_192

/** One process as it is remembered. */
export interface KnownProcess {
  readonly pid: number
  readonly entityId: string
  readonly startTicks: number
  readonly startedAt: string
  readonly ppid: number
  readonly session: number
  readonly tty: string | undefined
  readonly image: ProcessImage
  readonly executable: ExecutableFacts | undefined
  /** The parent at the time it was first seen, as it was then; it stays when the process is given to another parent. */
  readonly parent: ProcessFields['parent']
  readonly parentCuts: readonly FieldCut[]
  /** Nearest first, without the parent itself. */
  readonly ancestors: readonly Ancestor[]
}
export type FieldCut = { readonly field: string } & Cut

export interface EventContext {
  readonly hostName: string
  readonly accounts: AccountNames
  readonly provider: string
  /** What most processes of this host have, which is not said of each: as the first process has it. */
  readonly ordinary: Ordinary
}

export interface Ordinary {
  readonly capabilities: bigint | undefined
  readonly namespaces: Namespaces | undefined
}

export const TYPE_OF: { readonly [A in ProcessAction]: Event['event']['type'] } = {
  'process-existing': ['info'],
  'process-started': ['start'],
  fork: ['start'],
  exec: ['start'],
  'process-ended': ['end'],
  'executable-identified': ['info'],
}

export interface ProcessExtra {
  readonly reason?: string | undefined
  readonly exitCode?: number | undefined
  readonly runtimeMs?: number | undefined
}

export function processEvent(
  action: ProcessAction,
  at: string,
  known: KnownProcess,
  context: EventContext,
  extra: ProcessExtra = {},
): Event {
  const { image } = known
  const hasEnded = action === 'process-ended'
  const truncated = [...cutsOf('process', image, hasEnded), ...(hasEnded ? [] : known.parentCuts)]
  const user = userOf(image, context.accounts)
  const containerId = image.cgroup === undefined ? undefined : containerIdOf(image.cgroup)
  const more = hasEnded
    ? { parent: known.parent && shortParent(known.parent), end: at, exit_code: extra.exitCode }
    : {
        args: image.commandLine && [...image.commandLine.args],
        args_count: image.commandLine?.argsCount,
        working_directory: image.workingDirectory,
        tty: known.tty,
        session_leader: known.session > 0 ? { pid: known.session } : undefined,
        thread: threadOf(image, context.ordinary),
        parent: known.parent,
        ancestors: known.ancestors.length > 0 ? [...known.ancestors] : undefined,
      }
  const firebreak = present({
    truncated: truncated.length > 0 ? truncated : undefined,
    executable: hasEnded || action === 'fork' ? undefined : executableOf(known),
    namespaces:
      hasEnded || !image.namespaces || isSameNamespaces(image.namespaces, context.ordinary.namespaces)
        ? undefined
        : namespacesOf(image.namespaces),
    cgroup: hasEnded || image.cgroup === '/' ? undefined : image.cgroup,
  })
  return {
    '@timestamp': at,
    event: {
      category: ['process'],
      type: TYPE_OF[action],
      action,
      dataset: 'firebreak.process',
      provider: context.provider,
      ...present({
        reason: extra.reason ?? (image.executableDeleted && !hasEnded ? deletedReason(image) : undefined),
        duration_ms: extra.runtimeMs,
      }),
    },
    host: { name: context.hostName },
    process: { ...basicFields(known, context.accounts), ...present(more) },
    ...present({
      user,
      container: containerId === undefined ? undefined : { id: containerId },
      firebreak: Object.keys(firebreak).length > 0 ? firebreak : undefined,
    }),
  }
}

/** Not said of root with all that root has here, nor of others with nothing. */
export function threadOf(image: ProcessImage, { capabilities }: Ordinary): ProcessFields['thread'] {
  const bits = image.capabilities
  const isRoot = (image.effectiveUid ?? image.uid) === '0'
  if (bits === undefined || (isRoot ? bits === capabilities : bits === 0n)) return undefined
  return { capabilities: { effective: [...capabilityNames(bits)] } }
}

export function isSameNamespaces(a: Namespaces, b: Namespaces | undefined): boolean {
  if (!b) return false
  return (
    a.pid === b.pid &&
    a.mnt === b.mnt &&
    a.net === b.net &&
    a.user === b.user &&
    a.uts === b.uts &&
    a.ipc === b.ipc &&
    a.cgroup === b.cgroup
  )
}

export function deletedReason(image: ProcessImage): string {
  return image.executableMemfd ? 'the executable lies in memory only' : 'the file of the executable was deleted'
}

/** An end says who it was and whose child; the rest was told at the start, under the same entity id. */
export function shortParent(parent: NonNullable<ProcessFields['parent']>): NonNullable<ProcessFields['parent']> {
  const { pid, entity_id, name, executable } = parent
  return present({ pid, entity_id, name, executable })
}

export function executableOf({ image, executable }: KnownProcess): NonNullable<Event['firebreak']>['executable'] {
  const { file } = image
  if (!file) return undefined
  return {
    inode: String(file.inode),
    device: file.device,
    size: file.size,
    mode: (file.mode & 0o7777).toString(8).padStart(4, '0'),
    ...present({
      mtime: isoOfNs(file.mtimeNs),
      ctime: isoOfNs(file.ctimeNs),
      deleted: image.executableDeleted || undefined,
      memfd: image.executableMemfd || undefined,
      package: executable?.package,
    }),
  }
}

export function namespacesOf(namespaces: Namespaces): NonNullable<Event['firebreak']>['namespaces'] {
  const { pid, mnt, net, user, uts, ipc, cgroup } = namespaces
  return {
    pid: String(pid),
    mnt: String(mnt),
    net: String(net),
    user: String(user),
    uts: String(uts),
    ipc: String(ipc),
    cgroup: String(cgroup),
  }
}

/** How a process is remembered by its children. */
export function lineageOf(
  parent: KnownProcess | undefined,
  ppid: number,
  accounts: AccountNames,
): Pick<KnownProcess, 'parent' | 'parentCuts' | 'ancestors'> {
  if (!parent) return { parent: ppid > 0 ? { pid: ppid } : undefined, parentCuts: [], ancestors: [] }
  const fields = basicFields(parent, accounts)
  const parentCuts = cutsOf('process.parent', parent.image)
  const grandparent = parent.parent
  const above = grandparent && ancestorOf(grandparent)
  return {
    parent: shortCommand(fields, parentCuts),
    parentCuts,
    ancestors: above ? [above, ...parent.ancestors].slice(0, MAX_ANCESTORS) : [],
  }
}

/** What is said of a process where it stands beside something else: a connection, a child. */
export function basicFields(
  known: Pick<KnownProcess, 'pid' | 'entityId' | 'startedAt' | 'image' | 'executable'>,
  accounts: AccountNames,
): NonNullable<ProcessFields['parent']> {
  const { image } = known
  return {
    pid: known.pid,
    entity_id: known.entityId,
    name: image.name,
    start: known.startedAt,
    ...present({
      executable: image.executable,
      command_line: image.commandLine?.text,
      user: userOf(image, accounts),
      hash: known.executable?.sha256 === undefined ? undefined : { sha256: known.executable.sha256 },
    }),
  }
}

function shortCommand(
  fields: NonNullable<ProcessFields['parent']>,
  cuts: FieldCut[],
): NonNullable<ProcessFields['parent']> {
  const whole = fields.command_line
  if (whole === undefined || whole.length <= PARENT_COMMAND_UNITS) return fields
  if (cuts.length === 0) cuts.push({ field: 'process.parent.command_line', ...cutOfBytes(Buffer.from(whole)) })
  return { ...fields, command_line: whole.slice(0, PARENT_COMMAND_UNITS).toWellFormed() }
}

function ancestorOf(fields: NonNullable<ProcessFields['parent']>): Ancestor | undefined {
  if (fields.pid === undefined || fields.entity_id === undefined || fields.name === undefined) return undefined
  return {
    pid: fields.pid,
    entity_id: fields.entity_id,
    name: fields.name.slice(0, ANCESTOR_PATH_UNITS),
    ...present({ executable: fields.executable?.slice(0, ANCESTOR_PATH_UNITS) }),
  }
}

export function userOf(
  image: Pick<ProcessImage, 'uid' | 'effectiveUid' | 'loginUid'>,
  accounts: AccountNames,
): Event['user'] {
  const { uid, effectiveUid, loginUid } = image
  if (uid === undefined) return undefined
  const account = (id: string) => ({ id, ...present({ name: accounts.nameOf(id) }) })
  return {
    ...account(uid),
    ...present({
      effective: effectiveUid === undefined || effectiveUid === uid ? undefined : account(effectiveUid),
      audit: loginUid === undefined ? undefined : account(loginUid),
    }),
  }
}

function cutsOf(owner: 'process' | 'process.parent', image: ProcessImage, withoutArgs = false): FieldCut[] {
  const { textCut, argsCut } = image.commandLine ?? {}
  const cuts: FieldCut[] = owner === 'process' ? [...(image.cuts ?? [])] : []
  if (textCut) cuts.push({ field: `${owner}.command_line`, ...textCut })
  if (argsCut && owner === 'process' && !withoutArgs) cuts.push({ field: 'process.args', ...argsCut })
  return cuts
}
