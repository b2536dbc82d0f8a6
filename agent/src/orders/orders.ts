/**
 * Commands: judged, remembered, carried out one after the other, answered. The order of events for one command, each line durable
 * before the next: received; accepted + started; (effect); done + final receipt.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { Command, Refusal } from '@firebreak/shared/commands/command.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { KeyId } from '@firebreak/shared/trust/ed25519.ts'
import type { Action, Actions, Effect, Order } from '../actions/action.ts'
import type { Identity } from '../identity/identity.ts'
import type { TrustStore } from '../identity/trust-store.ts'
import type { Session } from '../link/handshake.ts'
import type { Log } from '../log.ts'
import type { Ceiling } from './ceiling.ts'
import { ageOf, type Examined, examine, isUnfit, judgeRight, type Position, trustTime, type Unfit } from './examine.ts'
import { type CommandEntry, openJournal, type ReceivedCommand } from './journal.ts'
import { ORDERS_LOG } from './log-names.ts'
import { endsWithin, patienceMs } from './patience.ts'
import { acceptedAnswer, type Answer, answerOf, Receipts, refusedAnswer } from './receipts.ts'
import { createRefusalLimit } from './refusal-limit.ts'

export interface OrdersDeps {
  readonly identity: Identity
  readonly trust: TrustStore
  readonly ceiling: Ceiling
  readonly clock: Clock
  readonly log: Log
  readonly bootId: string
  readonly journalPath: string
  /** Names each durable step for the fault tests; does nothing in production. */
  readonly step?: (name: string) => void
}

/** What became of a command at the door. `repeated`: it was known; its receipts were sent again and nothing was run. */
export type Admission =
  | { readonly outcome: 'received' | 'repeated'; readonly cmdId: string }
  | { readonly outcome: 'refused'; readonly code: Refusal }

export interface Orders {
  readonly receipts: Receipts
  position(): Position
  /** Judges the envelope and, when it is good, carries it out in its turn. Throws `journal_unwritable`: then nothing was begun. */
  receive(envelope: Uint8Array, session: Session): Admission
  /** After a start: ends what an earlier life left open, lets each action put its effects back in force, then works on. */
  recover(actions: Actions): Promise<void>
  /** The effect of a command that was over has ended without an order. Durable when it resolves. */
  ended(cmdId: string, effect: Effect<CommandType>): Promise<void>
  /** Takes nothing more, waits for what runs. */
  stop(): Promise<void>
}

interface Waiting {
  readonly command: Command
  readonly received: ReceivedCommand
  readonly session: Session
  readonly signers: readonly KeyId[]
}

const HOUR_MS = 3_600_000
const JOURNAL_RETRY_MS = 5_000
const MAX_WAITING = 64
/** The command is so old that the journal does not know its bytes any more. */
const FORGOTTEN = '0'.repeat(64)
const INTERRUPTED = 'the agent was stopped before it was done'

/**
 * Which commands go before others when several wait. All of today's change the state of the containment, where a later order takes the
 * earlier back, so they keep their order among themselves; a type that only reads gets a higher number and lets them pass.
 */
const RANK: { readonly [T in CommandType]: number } = { 'isolate-host': 0, 'release-host': 0, 'kill-process': 0 }

export function createOrders(deps: OrdersDeps): Orders {
  return new JournaledOrders(deps)
}

class JournaledOrders implements Orders {
  readonly receipts: Receipts
  readonly #deps: OrdersDeps
  readonly #journal
  readonly #refusals
  readonly #queue: Waiting[] = []
  /** Done, but the journal did not take the end of it yet. */
  readonly #ends: { readonly received: ReceivedCommand; readonly effect: Effect<CommandType> }[] = []
  readonly #stopping = new AbortController()
  #actions: Actions | undefined
  #working: Promise<void> | undefined
  #stopped = false

  constructor(deps: OrdersDeps) {
    this.#deps = deps
    this.#journal = openJournal({
      path: deps.journalPath,
      onDamage: (reason) => deps.log.error(ORDERS_LOG.journalDamaged, { reason }),
      ...(deps.step ? { step: deps.step } : {}),
    })
    this.receipts = new Receipts({ ...deps, journal: this.#journal })
    this.#refusals = createRefusalLimit(deps.clock)
  }

  position(): Position {
    return this.#journal.position
  }

  receive(envelope: Uint8Array, session: Session): Admission {
    const { trust, clock, identity } = this.#deps
    const found = examine(envelope, {
      trust: trust.current(),
      clock,
      agentId: identity.agentId,
      session,
      position: this.#journal.position,
    })
    if (isUnfit(found)) return this.#refuse(found)
    const { command } = found
    const known = this.#journal.commands.get(command.cmd_id)
    if (known) return this.#repeat(known, found)
    const over = this.#judgeCeiling(command)
    if (over) return this.#refuse({ ...over, sha256: found.sha256, command, usesSequence: true })
    const received: ReceivedCommand = {
      cmd_id: command.cmd_id,
      type: command.type,
      args: command.args,
      sha256: found.sha256,
      at: clock.now(),
    }
    this.receipts.record([{ t: 'received', position: positionOf(command), command: received }], [])
    this.#deps.log.info(ORDERS_LOG.received, { command_id: command.cmd_id, type: command.type, actor: command.actor })
    this.#queue.push({ command, received, session, signers: found.signers })
    this.#queue.sort((a, b) => RANK[a.command.type] - RANK[b.command.type])
    this.#work()
    return { outcome: 'received', cmdId: command.cmd_id }
  }

  async recover(actions: Actions): Promise<void> {
    const open = [...this.#journal.commands.values()].filter(({ stage }) => stage !== 'done')
    for (const entry of open) await this.#reconcile(entry, actions)
    for (const entry of this.#journal.commands.values()) this.#completeReceipt(entry)
    for (const action of Object.values(actions)) {
      try {
        await this.#inTime(action.resume(), { type: action.type, step: 'resume' })
      } catch (thrown) {
        this.#deps.log.error(ORDERS_LOG.actionFailed, { type: action.type, step: 'resume', reason: reasonOf(thrown) })
      }
    }
    this.#actions = actions
    this.#work()
  }

  async ended(cmdId: string, effect: Effect<CommandType>): Promise<void> {
    const entry = this.#journal.commands.get(cmdId)
    const command = entry?.command ?? {
      cmd_id: cmdId,
      sha256: FORGOTTEN,
      type: 'isolate-host' as const,
    }
    this.receipts.record([], [answerOf(command, effect)])
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#stopping.abort()
    await this.#working
    for (const action of Object.values(this.#actions ?? {})) await action.stop()
    this.#journal.close()
  }

  #judgeCeiling(command: Command): { readonly code: Refusal; readonly why: string } | undefined {
    if (this.#queue.length >= MAX_WAITING) return { code: 'rate_limited', why: `${MAX_WAITING} commands wait already` }
    const lastHour = this.#journal.acceptedSince(command.type, this.#deps.clock.now() - HOUR_MS)
    const allowed = this.#deps.ceiling.allows(command.type, command.args, lastHour)
    return allowed.ok ? undefined : allowed
  }

  /** A command that is known by its id and came again under a new number: nothing is run, the earlier answers are sent again. */
  #repeat(known: CommandEntry, { command }: Examined): Admission {
    this.receipts.record([{ t: 'judged', position: positionOf(command) }], [])
    this.#deps.log.info(ORDERS_LOG.repeated, { command_id: known.command.cmd_id, stage: known.stage })
    this.receipts.repeat(known.command.cmd_id)
    return { outcome: 'repeated', cmdId: known.command.cmd_id }
  }

  #refuse({ code, why, sha256: digest, command, usesSequence }: Unfit): Admission {
    const { log } = this.#deps
    const position = command && usesSequence ? [{ t: 'judged', position: positionOf(command) } as const] : []
    // A replay of a command that was obeyed must not overwrite its outcome: the answer names the bytes, not the command.
    const isEcho = command !== undefined && this.#journal.commands.has(command.cmd_id)
    if (isEcho) this.receipts.repeat(command.cmd_id)
    const isAnswered = this.#refusals.take(command !== undefined)
    log.warn(ORDERS_LOG.refused, { command_id: command?.cmd_id, code, answered: isAnswered })
    if (isAnswered || position.length > 0) {
      const answer: Answer = {
        cmdId: isEcho ? undefined : command?.cmd_id,
        commandSha256: digest,
        type: command?.type,
        state: 'refused',
        code,
        why: this.#withUnanswered(why, isAnswered),
      }
      this.receipts.record(position, isAnswered ? [answer] : [])
    }
    return { outcome: 'refused', code }
  }

  #withUnanswered(why: string, isAnswered: boolean): string {
    const unanswered = isAnswered ? this.#refusals.takeUnanswered() : 0
    if (unanswered === 0) return why
    this.#deps.log.warn(ORDERS_LOG.refusalsUnanswered, { count: unanswered })
    return `${why} (and ${unanswered} refusals before it were not answered)`
  }

  #work(): void {
    if (this.#working || this.#stopped || !this.#actions || this.#queue.length + this.#ends.length === 0) return
    this.#working = this.#drain(this.#actions).finally(() => {
      this.#working = undefined
    })
  }

  async #drain(actions: Actions): Promise<void> {
    try {
      for (let end = this.#ends[0]; end; end = this.#ends[0]) {
        this.#recordEnd(end.received, end.effect)
        this.#ends.shift()
      }
      for (let next = this.#queue.shift(); next; next = this.#stopped ? undefined : this.#queue.shift())
        await this.#carryOut(next, actions)
    } catch (thrown) {
      // The journal cannot be written: nothing may be begun that could not be remembered.
      this.#deps.log.error(ORDERS_LOG.journalUnwritable, { reason: reasonOf(thrown) })
      void this.#workAgain()
    }
  }

  async #workAgain(): Promise<void> {
    // Rejected only when the agent stops; then the next start goes on from the journal.
    await this.#deps.clock.sleep(JOURNAL_RETRY_MS, this.#stopping.signal).catch(() => undefined)
    this.#work()
  }

  async #carryOut(waiting: Waiting, actions: Actions): Promise<void> {
    const { received } = waiting
    try {
      if (!(await this.#begin(waiting, actions))) return
    } catch (thrown) {
      this.#queue.unshift(waiting)
      throw thrown
    }
    const effect = await this.#apply(actions[received.type], this.#orderOf(received), received)
    try {
      this.#recordEnd(received, effect)
    } catch (thrown) {
      this.#ends.push({ received, effect })
      throw thrown
    }
  }

  /** False when it was refused. Either is on disk when it resolves; rejected: neither is. */
  async #begin({ command, received, session, signers }: Waiting, actions: Actions): Promise<boolean> {
    const { log, clock, trust } = this.#deps
    const order = this.#orderOf(received)
    const action = actions[received.type] as Action<CommandType>
    const late =
      ageOf(command, session, clock) > command.ttl_s * 1000
        ? ({ code: 'expired', why: 'it waited for others until its life was over' } as const)
        : undefined
    const right = judgeRight(received.type, signers, trust.current(), trustTime({ clock, session }))
    const unfit = late ?? (right === undefined ? undefined : ({ code: 'key_without_right', why: right } as const))
    // Its own coming is counted already, so the hourly limit is not asked again.
    const allowed = this.#deps.ceiling.allows(command.type, command.args, 0)
    const refusal = unfit ?? (allowed.ok ? await this.#check(action, order) : allowed)
    if (refusal) {
      log.warn(ORDERS_LOG.refused, { command_id: received.cmd_id, code: refusal.code })
      this.receipts.record(
        [{ t: 'done', cmd_id: received.cmd_id, effect: undefined }],
        [refusedAnswer(received, refusal)],
      )
      return false
    }
    this.receipts.record([{ t: 'started', cmd_id: received.cmd_id }], [acceptedAnswer(received)])
    log.info(ORDERS_LOG.started, { command_id: received.cmd_id, type: received.type })
    return true
  }

  async #check(
    action: Action<CommandType>,
    order: Order,
  ): Promise<{ readonly code: Refusal; readonly why: string } | undefined> {
    try {
      const checked = await this.#inTime(action.check(order), { type: order.type, step: 'check', cmdId: order.cmdId })
      if (!checked)
        return { code: 'precondition_failed', why: 'it could not be found out in time whether it can be done' }
      return checked.value.ok ? undefined : checked.value
    } catch (thrown) {
      this.#deps.log.error(ORDERS_LOG.actionFailed, {
        command_id: order.cmdId,
        step: 'check',
        reason: reasonOf(thrown),
      })
      return {
        code: 'precondition_failed',
        why: `it could not be found out whether it can be done: ${reasonOf(thrown)}`,
      }
    }
  }

  async #apply(action: Action<CommandType>, order: Order, received: ReceivedCommand): Promise<Effect<CommandType>> {
    let isOver = false
    try {
      const work = action.apply(order, async (effect) => {
        // After the last word nothing more is said about it.
        if (!isOver) this.receipts.record([], [answerOf(received, effect)])
      })
      const ended = await this.#inTime(work, { type: order.type, step: 'apply', cmdId: order.cmdId })
      isOver = true
      return ended?.value ?? interrupted(hungWhy(order.type))
    } catch (thrown) {
      this.#deps.log.error(ORDERS_LOG.actionFailed, {
        command_id: order.cmdId,
        step: 'apply',
        reason: reasonOf(thrown),
      })
      return { state: 'failed', code: 'action_failed', why: reasonOf(thrown), evidence: undefined }
    }
  }

  /** `undefined`: it hangs, and whoever waits behind it goes on. */
  async #inTime<T>(
    work: Promise<T>,
    { type, step, cmdId }: { readonly type: CommandType; readonly step: string; readonly cmdId?: string },
  ): Promise<{ readonly value: T } | undefined> {
    const { clock, log } = this.#deps
    const about = { type, step, command_id: cmdId }
    const ended = await endsWithin(work, patienceMs(type), clock, (outcome) => {
      const reason = outcome.status === 'rejected' ? reasonOf(outcome.reason) : undefined
      log.error(ORDERS_LOG.actionEndedLate, { ...about, reason })
    })
    if (!ended) log.error(ORDERS_LOG.actionHung, { ...about, after_ms: patienceMs(type) })
    return ended
  }

  #recordEnd(received: ReceivedCommand, effect: Effect<CommandType>): void {
    const wasTold = effect.state === 'applied' && this.#hasReceipt(received.cmd_id, 'applied')
    this.receipts.record([{ t: 'done', cmd_id: received.cmd_id, effect }], wasTold ? [] : [answerOf(received, effect)])
    this.#deps.log.info(ORDERS_LOG.ended, {
      command_id: received.cmd_id,
      state: effect.state,
      code: 'code' in effect ? effect.code : undefined,
    })
  }

  async #reconcile({ command, stage }: CommandEntry, actions: Actions): Promise<void> {
    if (stage === 'received') {
      this.#recordEnd(command, interrupted(`${INTERRUPTED}: it had not begun`))
      return
    }
    const action = actions[command.type] as Action<CommandType>
    let effect: Effect<CommandType>
    try {
      const told = { type: command.type, step: 'reconcile', cmdId: command.cmd_id }
      const ended = await this.#inTime(action.reconcile(this.#orderOf(command)), told)
      const found = ended?.value ?? { found: 'indeterminate', why: hungWhy(command.type) }
      effect = found.found === 'done' ? found.effect : interrupted(`${INTERRUPTED}; ${found.found}: ${found.why}`)
    } catch (thrown) {
      effect = interrupted(`${INTERRUPTED}; its state could not be read: ${reasonOf(thrown)}`)
    }
    this.#deps.log.info(ORDERS_LOG.reconciled, { command_id: command.cmd_id, state: effect.state })
    this.#recordEnd(command, effect)
  }

  /** Done, but the power went before the receipt of it was whole on disk. */
  #completeReceipt({ command, stage, effect, receipts }: CommandEntry): void {
    if (stage !== 'done' || effect === undefined) return
    if (!receipts.some((receipt) => receipt.state === effect.state))
      this.receipts.record([], [answerOf(command, effect)])
  }

  #hasReceipt(cmdId: string, state: string): boolean {
    return this.#journal.commands.get(cmdId)?.receipts.some((receipt) => receipt.state === state) === true
  }

  #orderOf(received: ReceivedCommand): Order {
    return {
      cmdId: received.cmd_id,
      type: received.type,
      args: received.args as Order['args'],
      step: (name) => this.#deps.step?.(name),
    }
  }
}

function positionOf({ lease, seq }: Command): Position {
  return { lease, seq }
}

function interrupted(why: string): Effect<CommandType> {
  return { state: 'failed', code: 'interrupted', why, evidence: undefined }
}

function hungWhy(type: CommandType): string {
  return `it did not end within ${patienceMs(type) / 1000} s and was not waited for any longer; it may still take effect`
}
