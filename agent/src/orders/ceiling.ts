/**
 * What the owner of this host allows, whatever any controller orders: a file that only root can change and no command can raise.
 * It is read anew for each command. No file: the defaults below. A file that cannot be used: nothing is allowed but what frees the host.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { COMMAND_CARDS, COMMAND_TYPES, type CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { IsolateHost } from '@firebreak/shared/commands/isolate-host.ts'
import type { KillProcess } from '@firebreak/shared/commands/kill-process.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { type Static, Type } from 'typebox'
import { layOver, type Problem, readYamlLayer } from '../config-layers.ts'
import { isFreeing } from './examine.ts'

const perHour = (initial: number) =>
  Type.Integer({ default: initial, minimum: 0, maximum: 100_000, description: 'Commands of this type in an hour.' })

export const CeilingFile = Type.Object(
  {
    observe_only: Type.Boolean({
      default: false,
      description: 'Refuse everything that could disturb this host. It goes on telling what it sees.',
    }),
    allowed: Type.Array(Type.Enum([...COMMAND_TYPES]), {
      default: [...COMMAND_TYPES],
      description: 'Command types that may be carried out here.',
    }),
    isolate_host: Type.Object(
      {
        longest_s: Type.Integer({
          default: 604_800,
          minimum: 0,
          maximum: 2_592_000,
          description: 'Longest isolation that may be ordered, seconds.',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    protected: Type.Object(
      {
        pids: Type.Array(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }), {
          default: [1],
          maxItems: 256,
          description: 'Processes that may not be killed. The agent itself never may.',
        }),
        executables: Type.Array(Type.String({ minLength: 1, maxLength: 4_096, pattern: '^/' }), {
          default: [
            '/usr/sbin/sshd',
            '/usr/lib/systemd/systemd',
            '/usr/lib/systemd/systemd-journald',
            '/usr/lib/systemd/systemd-logind',
            '/usr/lib/systemd/systemd-networkd',
            '/usr/lib/systemd/systemd-resolved',
            '/usr/lib/systemd/systemd-udevd',
            '/usr/bin/dbus-daemon',
            '/usr/sbin/auditd',
          ],
          maxItems: 1_024,
          description: 'Executables, absolute paths, whose processes may not be killed.',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    max_per_hour: Type.Object(
      { 'isolate-host': perHour(12), 'release-host': perHour(60), 'kill-process': perHour(120) } satisfies Record<
        CommandType,
        unknown
      >,
      { additionalProperties: false, default: {} },
    ),
  },
  { additionalProperties: false, description: 'What any controller may do on this host at most.' },
)
export type CeilingFile = Static<typeof CeilingFile>

export type CeilingRefusal = 'above_ceiling' | 'rate_limited'

export interface CeilingView {
  /** Digest of what is in force, for the controller and the status. */
  readonly sha256: string
  readonly observeOnly: boolean
  readonly allowed: readonly CommandType[]
  /** Why nothing but what frees the host is allowed. */
  readonly unusable: string | undefined
}

export interface Ceiling {
  view(): CeilingView
  /** `lastHour`: how many of this type were accepted in the last hour. */
  allows(type: CommandType, args: unknown, lastHour: number): Result<void, CeilingRefusal>
  /** Whether this process may not be killed; `executable` as /proc names it, if it is known. */
  protects(pid: number, executable: string | undefined): boolean
}

export interface CeilingDeps {
  readonly path: string
  readonly processes?: ProcessView
}

/** What must be known of processes to tell whether a kill would hit a protected one. */
export interface ProcessView {
  executableOf(pid: number): string | undefined
  descendantsOf(pid: number): readonly number[]
}

export function createCeiling({ path, processes = procfsView }: CeilingDeps): Ceiling {
  return {
    view() {
      const file = readCeiling(path)
      return {
        sha256: createHash('sha256')
          .update(file.ok ? JSON.stringify(file.value) : `unusable: ${file.why}`)
          .digest('hex'),
        observeOnly: file.ok && file.value.observe_only,
        allowed: COMMAND_TYPES.filter((type) =>
          file.ok ? typeRefusal(file.value, type) === undefined : isFreeing(type),
        ),
        unusable: file.ok ? undefined : file.why,
      }
    },
    allows(type, args, lastHour) {
      const file = readCeiling(path)
      if (!file.ok) {
        // Like an expired trust file: a broken ceiling stops what harms, and locks no host up in its isolation.
        if (isFreeing(type)) return ok()
        return refuse('above_ceiling', `the ceiling of this host cannot be used, so nothing is allowed: ${file.why}`)
      }
      const ceiling = file.value
      const refusal = typeRefusal(ceiling, type) ?? argsRefusal(ceiling, type, args, processes)
      if (refusal !== undefined) return refuse('above_ceiling', refusal)
      const most = ceiling.max_per_hour[type]
      return lastHour < most ? ok() : refuse('rate_limited', `this host takes ${most} of ${type} in an hour`)
    },
    protects(pid, executable) {
      const file = readCeiling(path)
      return !file.ok || isProtected(file.value, pid, executable)
    },
  }
}

/** One problem a line when the file cannot be used. */
export function readCeiling(path: string): Result<CeilingFile, 'unusable'> {
  const problems: Problem[] = []
  const layers = []
  if (existsSync(path)) {
    try {
      const { uid, mode } = statSync(path)
      const own = process.geteuid?.()
      if (own !== undefined && ((uid !== 0 && uid !== own) || (mode & 0o022) !== 0))
        problems.push({ where: path, what: 'can be changed by others than root' })
    } catch (thrown) {
      problems.push({ where: path, what: `cannot be read: ${reasonOf(thrown)}` })
    }
    layers.push(readYamlLayer(path, CeilingFile, problems))
  }
  const laid = layOver(CeilingFile, layers, problems)
  if (laid) return ok(laid.value as CeilingFile)
  return refuse('unusable', problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
}

function typeRefusal(ceiling: CeilingFile, type: CommandType): string | undefined {
  if (!ceiling.allowed.includes(type)) return `${type} is not allowed on this host`
  if (ceiling.observe_only && COMMAND_CARDS[type].risk === 'high')
    return `this host is observed only; ${type} is refused`
  return undefined
}

function argsRefusal(
  ceiling: CeilingFile,
  type: CommandType,
  args: unknown,
  processes: ProcessView,
): string | undefined {
  switch (type) {
    case 'isolate-host': {
      const { hold_s: hold } = args as IsolateHost
      const { longest_s: longest } = ceiling.isolate_host
      return hold > longest ? `an isolation of ${hold} s is longer than the ${longest} s allowed here` : undefined
    }
    case 'kill-process': {
      const { pid, tree } = args as KillProcess
      const victims = tree ? [pid, ...processes.descendantsOf(pid)] : [pid]
      const hit = victims.find((victim) => isProtected(ceiling, victim, processes.executableOf(victim)))
      if (hit === undefined) return undefined
      return hit === pid
        ? `process ${pid} is protected on this host`
        : `process ${hit}, below ${pid}, is protected on this host`
    }
    case 'release-host':
      return undefined
    default:
      throw new TypeError(`unhandled type ${JSON.stringify(type satisfies never)}`)
  }
}

function isProtected(ceiling: CeilingFile, pid: number, executable: string | undefined): boolean {
  if (pid === process.pid || ceiling.protected.pids.includes(pid)) return true
  return executable !== undefined && ceiling.protected.executables.includes(executable.replace(/ \(deleted\)$/, ''))
}

const procfsView: ProcessView = {
  executableOf(pid) {
    try {
      return readlinkSync(`/proc/${pid}/exe`)
    } catch {
      return undefined // ended, or a kernel thread: the action itself finds that out and says so
    }
  },
  descendantsOf(pid) {
    const children = new Map<number, number[]>()
    for (const name of existsSync('/proc') ? readdirSync('/proc') : []) {
      const parent = /^\d+$/.test(name) ? parentOf(Number(name)) : undefined
      if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    }
    const found = [...(children.get(pid) ?? [])]
    for (const child of found) found.push(...(children.get(child) ?? []))
    return found
  },
}

/** proc_pid_stat(5), field 4; the name before it is in parentheses and may hold anything. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    return undefined // ended meanwhile
  }
}
