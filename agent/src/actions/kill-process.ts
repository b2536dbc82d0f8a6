/**
 * End a process, and its descendants when asked (D3-PT). A pid may be given to another process at any moment, so it is stopped first,
 * looked at again, and only then killed: a stopped process cannot end and make room for another one, nor fork. Node cannot hold a
 * process by a pidfd (pidfd_open(2)), so a process that took the pid within the same 10 ms tick from the same executable is not told
 * apart. Children are killed before parents and the first one last, so that an interrupted kill finds the rest of the tree again.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type KillEvidence, killProcessCard } from '@firebreak/shared/commands/kill-process.ts'
import type { Refusal } from '@firebreak/shared/commands/command.ts'
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import { entityIdOf, type ProcessIdentity } from '../platform/linux/process-identity.ts'
import { readIfThere, writeAtomic } from '../disk/atomic-file.ts'
import type { Platform, Processes } from '../platform/platform.ts'
import type { Action, Effect, Order } from './action.ts'

const MAX_KILLED = 4_096
const MAX_ROUNDS = 64
const GONE_TIMEOUT_MS = 5_000
const LOOK_MS = 20
const RESPAWN_WATCH_MS = 500
const TARGET_FILE = 'kill-process.json'

export interface KillParts {
  readonly platform: Platform
  readonly stateDir: string
  readonly clock: Clock
  /** Whether the owner of the host lets nobody kill this process. */
  readonly protects: (pid: number, executable: string | undefined) => boolean
}

type Killed = KillEvidence['killed'][number]
type KillEffect = Effect<'kill-process'>

export function createKillProcess(parts: KillParts): Action<'kill-process'> {
  const { platform, stateDir, protects } = parts
  const { processes } = platform
  const bootId = platform.bootId()
  const entityOf = (one: ProcessIdentity) => entityIdOf(bootId, one.pid, one.startTicks)
  const targetFile = join(stateDir, TARGET_FILE)

  /** Who is meant, if it may be killed. Changes nothing. */
  const meant = (order: Order<'kill-process'>, entityId: string | undefined): Result<ProcessIdentity, Refusal> => {
    const { pid } = order.args
    const found = processes.identity(pid)
    if (!found || isDead(found)) return refuse('precondition_failed', `there is no process ${pid}`)
    if (entityId !== undefined && entityOf(found) !== entityId) {
      return refuse('precondition_failed', `pid ${pid} belongs to another process now: ${entityOf(found)}`)
    }
    if (isProtected(pid, processes))
      return refuse('precondition_failed', `pid ${pid} is the agent, its ancestor or init`)
    if (!found.exe) return refuse('precondition_failed', `pid ${pid} is a kernel thread`)
    // The ceiling was asked before; since then the pid may have gone to another process, or the process to another program.
    if (protects(pid, found.exe.path)) return refuse('precondition_failed', `pid ${pid} is protected on this host`)
    return ok(found)
  }

  const kill = async (order: Order<'kill-process'>, root: ProcessIdentity): Promise<KillEffect> => {
    const { clock } = parts
    // Before anything is stopped: after a crash this says whom to finish off.
    writeAtomic(targetFile, JSON.stringify({ cmd_id: order.cmdId, entity_id: entityOf(root) }))
    order.step('kill.target-recorded')
    const since = clock.monotonic()
    if (!freeze(root, processes)) {
      rmSync(targetFile, { force: true })
      return failed(`pid ${root.pid} went to another process before it could be stopped; that one was not touched`)
    }
    order.step('kill.stopped')
    const tree = order.args.tree ? [root, ...freezeDescendants(root, parts)] : [root]
    const killed: Killed[] = []
    for (const one of tree.toReversed()) {
      processes.signal(one.pid, 'SIGKILL')
      killed.push({ pid: one.pid, entity_id: entityOf(one), ...(one.exe ? { executable: one.exe.path } : {}) })
      order.step('kill.killed-one')
    }
    const surviving = await waitGone(tree, parts)
    rmSync(targetFile, { force: true })
    const respawned = await watchRespawn(root, tree, since, parts)
    const evidence: KillEvidence = { killed, surviving, respawned }
    if (surviving.length === 0) return { state: 'verified', evidence }
    return {
      state: 'refuted',
      code: 'effect_refuted',
      why: `${surviving.length} of ${tree.length} are still there`,
      evidence,
    }
  }

  return {
    type: killProcessCard.type,
    async check(order) {
      const can = processes.supported()
      if (!can.ok) return can
      const target = meant(order, order.args.entity_id)
      return target.ok ? ok() : target
    },
    async apply(order) {
      const target = meant(order, order.args.entity_id)
      return target.ok ? kill(order, target.value) : failed(target.why)
    },
    async verify(order) {
      const found = processes.identity(order.args.pid)
      const other = found && order.args.entity_id !== undefined && entityOf(found) !== order.args.entity_id
      const gone = !found || isDead(found) || other === true
      const evidence: KillEvidence = { killed: [], surviving: gone ? [] : [order.args.pid], respawned: [] }
      if (gone) return { state: 'verified', evidence }
      return { state: 'refuted', code: 'effect_refuted', why: `process ${order.args.pid} is there`, evidence }
    },
    async reconcile(order) {
      const recorded = readTarget(targetFile, order.cmdId)
      const entityId = recorded ?? order.args.entity_id
      if (entityId === undefined) return { found: 'not_done', why: 'nobody was stopped or killed yet' }
      const target = meant(order, entityId)
      if (target.ok) {
        if (recorded === undefined) return { found: 'not_done', why: 'nobody was stopped or killed yet' }
        return { found: 'done', effect: await kill(order, target.value) }
      }
      rmSync(targetFile, { force: true })
      if (recorded === undefined)
        return { found: 'indeterminate', why: 'the process is gone; it is not known who ended it' }
      const evidence: KillEvidence = {
        killed: [{ pid: order.args.pid, entity_id: recorded }],
        surviving: [],
        respawned: [],
      }
      return { found: 'done', effect: { state: 'verified', evidence } }
    },
    resume: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  }
}

/** Stops exactly this process; false: somebody else has its pid, and goes on running. */
function freeze(one: ProcessIdentity, processes: Processes): boolean {
  const before = processes.identity(one.pid)
  if (!isSame(before, one) || !processes.signal(one.pid, 'SIGSTOP')) return false
  if (isSame(processes.identity(one.pid), one)) return true
  processes.signal(one.pid, 'SIGCONT')
  return false
}

/** Parents before children. Walks until a walk finds nobody new: whoever forked meanwhile is found in the next, and is stopped then. */
function freezeDescendants(root: ProcessIdentity, { platform, protects }: KillParts): readonly ProcessIdentity[] {
  const { processes } = platform
  const frozen = new Map([[root.pid, root]])
  for (let round = 0, grew = true; grew && round < MAX_ROUNDS; round++) {
    grew = false
    for (const pid of processes.list()) {
      if (frozen.has(pid) || frozen.size >= MAX_KILLED) continue
      const one = processes.identity(pid)
      if (!one || isDead(one) || !frozen.has(one.ppid) || isProtected(pid, processes)) continue
      if (protects(pid, one.exe?.path)) continue
      if (freeze(one, processes)) {
        frozen.set(pid, one)
        grew = true
      }
    }
  }
  return [...frozen.values()].slice(1)
}

async function waitGone(tree: readonly ProcessIdentity[], { platform, clock }: KillParts): Promise<number[]> {
  const end = clock.monotonic() + GONE_TIMEOUT_MS
  for (;;) {
    const left = tree.filter((one) => {
      const now = platform.processes.identity(one.pid)
      return now !== undefined && now.startTicks === one.startTicks && !isDead(now)
    })
    if (left.length === 0 || clock.monotonic() >= end) return left.map((one) => one.pid)
    await clock.sleep(LOOK_MS)
  }
}

/** The same program again under the same parent: a supervisor brings it back, and killing alone will not help. */
async function watchRespawn(
  root: ProcessIdentity,
  tree: readonly ProcessIdentity[],
  since: number,
  { platform, clock }: KillParts,
): Promise<number[]> {
  const killed = new Set(tree.map((one) => `${one.pid} ${one.startTicks}`))
  const found = new Set<number>()
  const end = clock.monotonic() + RESPAWN_WATCH_MS
  while (clock.monotonic() < end) {
    await clock.sleep(LOOK_MS * 5)
    for (const pid of platform.processes.list()) {
      const one = platform.processes.identity(pid)
      if (!one?.exe || one.ppid !== root.ppid || killed.has(`${pid} ${one.startTicks}`)) continue
      // starttime counts ticks of 10 ms since boot, as the clock does in ms.
      const started = one.startTicks * 10 >= since - 10
      if (started && one.exe.dev === root.exe?.dev && one.exe.ino === root.exe.ino && found.size < 64) found.add(pid)
    }
  }
  return [...found]
}

/** init, the agent, and everybody the agent descends from. */
function isProtected(pid: number, processes: Processes): boolean {
  for (let at = process.pid; at > 1; ) {
    if (at === pid) return true
    at = processes.identity(at)?.ppid ?? 0
  }
  return pid <= 1
}

/** Pid and start time name a process; the executable may only differ when it has run execve(2) between, which is not the one meant. */
function isSame(now: ProcessIdentity | undefined, then: ProcessIdentity): boolean {
  if (!now || isDead(now)) return false
  return now.startTicks === then.startTicks && now.exe?.dev === then.exe?.dev && now.exe?.ino === then.exe?.ino
}

/** A zombie runs no more; it waits for its parent (proc_pid_stat(5)). */
function isDead(one: ProcessIdentity): boolean {
  return one.state === 'Z' || one.state === 'X'
}

function failed(why: string): KillEffect {
  return { state: 'failed', code: 'action_failed', why, evidence: undefined }
}

/** The entity id that an interrupted run of this command was about to kill. */
function readTarget(path: string, cmdId: string): string | undefined {
  const text = readIfThere(path)?.toString('utf8')
  if (text === undefined) return undefined
  const noted = JSON.parse(text) as { readonly cmd_id?: unknown; readonly entity_id?: unknown }
  return noted.cmd_id === cmdId && typeof noted.entity_id === 'string' ? noted.entity_id : undefined
}
