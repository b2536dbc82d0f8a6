/** Process facts as events: what one look at /proc knows about one process, in ECS words. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AccountNames } from './accounts.ts'
import { type Cut, cutOfBytes } from './command-line.ts'
import { present } from './present.ts'
import { type ProcessImage, ttyPathOf } from './procfs-process.ts'

/**
 * `fork` and `exec` in the words of Elastic Defend: a child that still runs its parent's image, and a process that took another.
 * `process-started` is both at once, as one look saw it. `process-existing` ran before the agent did.
 */
export const PROCESS_ACTIONS = ['process-existing', 'process-started', 'fork', 'exec', 'process-ended'] as const
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
  readonly ttyNumber: number
  readonly image: ProcessImage
  readonly sha256: string | undefined
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
}

const TYPE_OF: { readonly [A in ProcessAction]: Event['event']['type'] } = {
  'process-existing': ['info'],
  'process-started': ['start'],
  fork: ['start'],
  exec: ['start'],
  'process-ended': ['end'],
}

export function processEvent(
  action: ProcessAction,
  at: string,
  known: KnownProcess,
  context: EventContext,
  extra: { readonly reason?: string; readonly exitCode?: number } = {},
): Event {
  const { image } = known
  const truncated = [...cutsOf('process', image), ...known.parentCuts]
  const user = userOf(image, context.accounts)
  const process = {
    ...basicFields(known, context.accounts),
    ...present({
      args: image.commandLine && [...image.commandLine.args],
      args_count: image.commandLine?.argsCount,
      working_directory: image.workingDirectory,
      tty: ttyPathOf(known.ttyNumber),
      parent: known.parent,
      ancestors: known.ancestors.length > 0 ? [...known.ancestors] : undefined,
      end: action === 'process-ended' ? at : undefined,
      exit_code: extra.exitCode,
    }),
  }
  return {
    '@timestamp': at,
    event: {
      category: ['process'],
      type: TYPE_OF[action],
      action,
      dataset: 'firebreak.process',
      provider: context.provider,
      ...present({
        reason: extra.reason ?? (image.executableDeleted ? 'the file of the executable was deleted' : undefined),
      }),
    },
    host: { name: context.hostName },
    process,
    ...present({ user, firebreak: truncated.length > 0 ? { truncated } : undefined }),
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
  known: Pick<KnownProcess, 'pid' | 'entityId' | 'startedAt' | 'image' | 'sha256'>,
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
      hash: known.sha256 === undefined ? undefined : { sha256: known.sha256 },
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

function userOf(image: ProcessImage, accounts: AccountNames): Event['user'] {
  const { uid, effectiveUid } = image
  if (uid === undefined) return undefined
  const name = accounts.nameOf(uid)
  if (effectiveUid === undefined || effectiveUid === uid) return { id: uid, ...present({ name }) }
  return {
    id: uid,
    effective: { id: effectiveUid, ...present({ name: accounts.nameOf(effectiveUid) }) },
    ...present({ name }),
  }
}

function cutsOf(owner: 'process' | 'process.parent', image: ProcessImage): FieldCut[] {
  const { textCut, argsCut } = image.commandLine ?? {}
  const cuts: FieldCut[] = []
  if (textCut) cuts.push({ field: `${owner}.command_line`, ...textCut })
  if (argsCut && owner === 'process') cuts.push({ field: 'process.args', ...argsCut })
  return cuts
}
