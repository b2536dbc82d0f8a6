/**
 * The JSON text of a process event, put together without the event: what stays the same from one process to the next (accounts, parents,
 * containers, executables) is written once. The text is what `processEvent` and JSON.stringify would give; where anything would have to
 * be cut there is none, and the event is made.
 */
import { FIELD_LIMITS } from '@firebreak/shared/events/field-kinds.ts'
import { isWithin } from '@firebreak/shared/events/truncate.ts'
import { containerIdOf } from './container-id.ts'
import type { ExecutableFacts } from './executable-facts.ts'
import type { ExecutableFile } from './executable-file.ts'
import { SURELY_FITS } from './fit-event.ts'
import {
  type EventContext,
  type KnownProcess,
  type ProcessAction,
  type ProcessExtra,
  TYPE_OF,
  deletedReason,
  executableOf,
  isSameNamespaces,
  namespacesOf,
  shortParent,
  threadOf,
  userOf,
} from './process-events.ts'
import type { ProcessImage } from './procfs-process.ts'

const MAX_KEPT = 1_024

/** What a parent's children say of it and of those above it. */
interface ParentTexts {
  readonly ancestors: KnownProcess['ancestors']
  /** Something of it may have to be cut. */
  readonly isLong: boolean
  /** With its ancestors, as a start tells it. */
  readonly whole: string
  readonly short: string
}
interface GroupTexts {
  /** `"container":{...}` with a comma before it, or nothing. */
  readonly container: string
  /** `"cgroup":"..."`, or nothing. */
  readonly cgroup: string
}
interface ExecutableText {
  readonly file: ExecutableFile
  readonly isDeleted: boolean
  readonly isMemfd: boolean
  readonly text: string
}

export class ProcessTexts {
  readonly #context: EventContext
  readonly #heads = new Map<ProcessAction, string>()
  readonly #host: string
  #names: ReadonlyMap<string, string> | undefined
  readonly #users = new Map<string, string>()
  readonly #groups = new Map<string, GroupTexts>()
  readonly #parents = new WeakMap<NonNullable<KnownProcess['parent']>, ParentTexts>()
  readonly #executables = new WeakMap<ExecutableFacts, ExecutableText>()

  constructor(context: EventContext) {
    this.#context = context
    this.#host = `},"host":${JSON.stringify({ name: context.hostName })},"process":{"pid":`
  }

  /** Undefined: something may be too long, so the event has to be made and cut. */
  textOf(action: ProcessAction, at: string, known: KnownProcess, extra?: ProcessExtra): string | undefined {
    const { image } = known
    const hasEnded = action === 'process-ended'
    if (!isWhole(image) || (!hasEnded && known.parentCuts.length > 0)) return undefined
    const user = this.#userOf(image)
    const group = image.cgroup === undefined ? undefined : this.#groupOf(image.cgroup)
    const parent = known.parent && this.#parentOf(known.parent, known.ancestors)
    if (user.length > FIELD_LIMITS.keyword || parent?.isLong) return undefined
    const firebreak = hasEnded ? '' : this.#firebreakOf(action, known, group)
    if (firebreak.length > FIELD_LIMITS.keyword) return undefined
    const reason = extra?.reason ?? (image.executableDeleted && !hasEnded ? deletedReason(image) : undefined)
    const who = `${known.pid},"entity_id":"${known.entityId}","name":${JSON.stringify(image.name)},"start":"${known.startedAt}"`
    const text =
      `{"@timestamp":"${at}","event":${this.#headOf(action)}` +
      (reason === undefined ? '' : `,"reason":${JSON.stringify(reason)}`) +
      (extra?.runtimeMs === undefined ? '' : `,"duration_ms":${extra.runtimeMs}`) +
      this.#host +
      who +
      this.#imageOf(known, user) +
      (hasEnded ? endOf(at, parent?.short, extra?.exitCode) : this.#startOf(known, parent?.whole)) +
      '}' +
      (user === '' ? '' : `,"user":${user}`) +
      (group?.container ?? '') +
      firebreak +
      '}'
    return text.length <= SURELY_FITS ? text : undefined
  }

  /** The part that is the same in all events of one kind. */
  #headOf(action: ProcessAction): string {
    const kept = this.#heads.get(action)
    if (kept !== undefined) return kept
    const { provider } = this.#context
    const event = { category: ['process'], type: TYPE_OF[action], action, dataset: 'firebreak.process', provider }
    const made = JSON.stringify(event).slice(0, -1)
    this.#heads.set(action, made)
    return made
  }

  #imageOf({ image, executable }: KnownProcess, user: string): string {
    return (
      (image.executable === undefined ? '' : `,"executable":${JSON.stringify(image.executable)}`) +
      (image.commandLine === undefined ? '' : `,"command_line":${JSON.stringify(image.commandLine.text)}`) +
      (user === '' ? '' : `,"user":${user}`) +
      (executable?.sha256 === undefined ? '' : `,"hash":{"sha256":"${executable.sha256}"}`)
    )
  }

  #startOf(known: KnownProcess, parent: string | undefined): string {
    const { image } = known
    const { commandLine, workingDirectory } = image
    const thread = threadOf(image, this.#context.ordinary)
    return (
      (commandLine === undefined
        ? ''
        : `,"args":${JSON.stringify(commandLine.args)},"args_count":${commandLine.argsCount}`) +
      (workingDirectory === undefined ? '' : `,"working_directory":${JSON.stringify(workingDirectory)}`) +
      (known.tty === undefined ? '' : `,"tty":${JSON.stringify(known.tty)}`) +
      (known.session > 0 ? `,"session_leader":{"pid":${known.session}}` : '') +
      (thread === undefined ? '' : `,"thread":${JSON.stringify(thread)}`) +
      (parent ?? '')
    )
  }

  #firebreakOf(action: ProcessAction, known: KnownProcess, group: GroupTexts | undefined): string {
    const { namespaces } = known.image
    const parts = action === 'fork' ? '' : this.#executableOf(known)
    const spaces =
      namespaces === undefined || isSameNamespaces(namespaces, this.#context.ordinary.namespaces)
        ? ''
        : `,"namespaces":${JSON.stringify(namespacesOf(namespaces))}`
    const inside = parts + spaces + (group?.cgroup ?? '')
    return inside === '' ? '' : `,"firebreak":{${inside.slice(1)}}`
  }

  /** Empty where no account is known. */
  #userOf(image: ProcessImage): string {
    const { accounts } = this.#context
    const names = accounts.current()
    if (names !== this.#names) {
      this.#names = names
      this.#users.clear()
    }
    const key = `${image.uid},${image.effectiveUid},${image.loginUid}`
    const kept = this.#users.get(key)
    if (kept !== undefined) return kept
    const user = userOf(image, accounts)
    return keep(this.#users, key, user === undefined ? '' : JSON.stringify(user))
  }

  #groupOf(cgroup: string): GroupTexts {
    const kept = this.#groups.get(cgroup)
    if (kept) return kept
    const id = containerIdOf(cgroup)
    return keep(this.#groups, cgroup, {
      container: id === undefined ? '' : `,"container":${JSON.stringify({ id })}`,
      cgroup: cgroup === '/' ? '' : `,"cgroup":${JSON.stringify(cgroup)}`,
    })
  }

  /** All children of a process share what is remembered of it, until it changes. */
  #parentOf(parent: NonNullable<KnownProcess['parent']>, ancestors: KnownProcess['ancestors']): ParentTexts {
    const kept = this.#parents.get(parent)
    if (kept?.ancestors === ancestors) return kept
    const made = {
      ancestors,
      isLong: !isWithin({ parent, ancestors }),
      whole: `,"parent":${JSON.stringify(parent)}${ancestors.length > 0 ? `,"ancestors":${JSON.stringify(ancestors)}` : ''}`,
      short: `,"parent":${JSON.stringify(shortParent(parent))}`,
    }
    this.#parents.set(parent, made)
    return made
  }

  #executableOf(known: KnownProcess): string {
    const { file, executableDeleted: isDeleted, executableMemfd: isMemfd } = known.image
    if (!file) return ''
    const facts = known.executable
    const kept = facts && this.#executables.get(facts)
    if (kept && kept.isDeleted === isDeleted && kept.isMemfd === isMemfd && isSameFile(kept.file, file))
      return kept.text
    const text = `,"executable":${JSON.stringify(executableOf(known))}`
    if (facts) this.#executables.set(facts, { file, isDeleted, isMemfd, text })
    return text
  }
}

function keep<V>(kept: Map<string, V>, key: string, value: V): V {
  if (kept.size >= MAX_KEPT) kept.clear()
  kept.set(key, value)
  return value
}

function endOf(at: string, parent: string | undefined, exitCode: number | undefined): string {
  return `${parent ?? ''},"end":"${at}"${exitCode === undefined ? '' : `,"exit_code":${exitCode}`}`
}

/** Nothing of it was cut or is to be cut. */
function isWhole({ name, executable, commandLine, workingDirectory, cgroup, cuts }: ProcessImage): boolean {
  return (
    cuts === undefined &&
    isShort(name) &&
    isShort(executable) &&
    isShort(workingDirectory) &&
    isShort(cgroup) &&
    (commandLine === undefined ||
      (commandLine.textCut === undefined &&
        commandLine.argsCut === undefined &&
        isShort(commandLine.text) &&
        commandLine.args.length <= FIELD_LIMITS.list))
  )
}

function isShort(text: string | undefined): boolean {
  return text === undefined || text.length <= FIELD_LIMITS.keyword
}

function isSameFile(a: ExecutableFile, b: ExecutableFile): boolean {
  return (
    a.inode === b.inode &&
    a.device === b.device &&
    a.size === b.size &&
    a.mode === b.mode &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  )
}
