/**
 * The isolation of this host: one desired state, whoever asks (an order, the lease, somebody at the host, a restart). Calls are carried
 * out one after the other; each durable step has a name, and after a crash at any of them `resume` ends in the desired or the earlier
 * state, never in between. Why the steps come in this order: README.md of the room above.
 */
import type { Failure, Refusal } from '@firebreak/shared/commands/command.ts'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import type { Effect } from '../action.ts'
import { openAddressesOf, type OpenAddress } from './controller-address.ts'
import { DesiredState } from './desired-state.ts'
import { driftEvent } from './drift-event.ts'
import { total } from './drift-guard.ts'
import {
  comparedWithBefore,
  failed,
  hasSha256,
  isTable,
  recordEvidence,
  refuted,
  rulesetProbe,
  sha256,
} from './evidence.ts'
import type { Containment, IsolationOrder, IsolationParts } from './isolation-parts.ts'
import { anchoredHere, holdFor } from './lease.ts'
import { LOG } from './log-names.ts'
import { OwedRelease } from './owed-release.ts'
import { probeRelease } from './probes.ts'
import { MAX_PROBES, PROBE_CONFIRM_MS, RulesInForce } from './rules-in-force.ts'
import { withoutOurTable } from './ruleset.ts'
import { type Ended, type Ending, type IsolationRecord, IsolationStore, type IsolationState } from './state.ts'
import { foreignTargets } from './targets.ts'
import { mustBeOpen } from './verdict.ts'
import { IsolationWatch } from './watch.ts'

export const CONFIRM_MS = 13_000
export const LAPSE_S = 15
/** How long a probe waits for the controller right after a start: the connection may still have to be made. */
const START_CONFIRM_MS = 15_000

type IsolateEffect = Effect<'isolate-host'>
type ReleaseEffect = Effect<'release-host'>
type Report = (effect: IsolateEffect) => Promise<void>
type Step = (name: string) => void
const noStep: Step = () => undefined

export class Isolation {
  readonly #parts: IsolationParts
  readonly #store: IsolationStore
  readonly #desired: DesiredState
  readonly #rules: RulesInForce
  #watch: IsolationWatch | undefined
  #drifts = 0
  readonly #owed: OwedRelease
  #tail: Promise<unknown> = Promise.resolve()

  constructor(parts: IsolationParts) {
    this.#parts = parts
    this.#store = new IsolationStore(parts.stateDir)
    this.#desired = new DesiredState(this.#store, parts.log, parts.onChanged)
    this.#rules = new RulesInForce(parts, this.#desired, () => this.#watch?.packetsBeforeDrift ?? 0)
    this.#owed = new OwedRelease(parts, () =>
      this.#oneByOne(async () => {
        await this.#settled()
        await this.#desired.tellEnded(parts.onEnded)
      }),
    )
  }

  /** Whether this host could be isolated now. Changes nothing. */
  async check(): Promise<Result<void, Refusal>> {
    const { platform, link } = this.#parts
    const controllers = openAddressesOf(await link.controllers())
    const can = await platform.firewall.canRun(this.#rules.rules(controllers, LAPSE_S))
    if (!can.ok) return can
    const unwritable = this.#store.unwritable()
    if (unwritable !== undefined) return refuse('unsupported', `the state folder cannot be written: ${unwritable}`)
    if (controllers.length === 0) return refuse('precondition_failed', 'no address of a controller is known')
    return ok()
  }

  isolate(order: IsolationOrder, report: Report): Promise<IsolateEffect> {
    return this.#oneByOne(async () => {
      const state = await this.#settled()
      const present = state.phase === 'isolated' ? state.record : undefined
      if (present?.cmd_id === order.cmdId) return this.#rules.prove(present)
      const controllers = openAddressesOf(await this.#parts.link.controllers())
      if (controllers.length === 0) return failed('action_failed', 'no address of a controller is known')
      return present ? this.#renew(order, present, controllers, report) : this.#isolate(order, controllers, report)
    })
  }

  /** Ends the isolation, whatever is left of it; on a host that is not isolated it makes sure of that. */
  release(ending: Ending, step: Step = noStep): Promise<ReleaseEffect> {
    return this.#oneByOne(async () => {
      const effect = await this.#release(ending, step)
      await this.#desired.tellEnded(this.#parts.onEnded)
      return effect
    })
  }

  /** Probes again for an isolation that is in force. */
  verify(cmdId: string): Promise<IsolateEffect> {
    return this.#oneByOne(async () => {
      const { phase, record } = await this.#settled()
      if (phase === 'isolated' && record?.cmd_id === cmdId) return this.#rules.prove(record)
      return failed('overridden', 'this isolation is not in force')
    })
  }

  /** Looks whether the host is free, and at what it reaches; `starting`: the connection may still have to be made. */
  verifyFree(starting = false): Promise<ReleaseEffect> {
    return this.#oneByOne(async () => {
      const { phase, record } = await this.#settled()
      if (phase === 'none') {
        const confirmMs = starting ? START_CONFIRM_MS : PROBE_CONFIRM_MS
        return this.#release({ cause: 'ordered', why: 'not isolated' }, noStep, confirmMs)
      }
      return failed('overridden', `isolated by ${record?.cmd_id ?? 'nobody'}`)
    })
  }

  /** Other controllers may be named now: those are let through too, and nobody who was let through is cut off. */
  follow(): Promise<void> {
    return this.#oneByOne(async () => {
      const { phase, record } = this.#desired.read()
      if (phase !== 'isolated' || !record) return
      const known = await this.#parts.link.controllers()
      const all = openAddressesOf([...known, ...record.controllers.map(withZone)])
      if (all.length === record.controllers.length) return
      await this.#stopWatch()
      try {
        const widened = { ...record, controllers: [...all], ruleset: this.#rules.rules(all) }
        this.#desired.write({ phase: 'isolated', record: widened })
        this.#store.writeBootFile(widened)
        const put = await this.#rules.reassert()
        if (!put.ok) this.#parts.log.error(LOG.reassertFailed, { command_id: record.cmd_id, why: put.why })
      } finally {
        this.#startWatch()
      }
    })
  }

  /** At the start: what was half done is finished or taken back, what must be in force is, and it is watched. Again: nothing more. */
  resume(): Promise<void> {
    return this.#oneByOne(async () => {
      if (this.#watch) return
      const seenIntact = this.#store.lastSeenIntactMs()
      const { phase, record } = await this.#settled()
      if (phase === 'isolated' && record) await this.#resume(record, seenIntact)
      else if ((await this.#parts.platform.firewall.table()) !== undefined) this.#parts.log.warn(LOG.unexpectedTable)
      await this.#desired.tellEnded(this.#parts.onEnded)
    })
  }

  async stop(): Promise<void> {
    this.#owed.stop()
    await this.#oneByOne(() => this.#stopWatch())
  }

  /** How an isolation ended, after what an earlier run left is finished or taken back; undefined when none of the last ones matches. */
  endOf(matches: (ended: Ended) => boolean): Promise<Ended | undefined> {
    return this.#oneByOne(async () => (await this.#settled()).ended.find(matches))
  }

  /** How an order stands that was interrupted: in force and probed, or over; undefined when none of it ever was. */
  async outcomeOf(cmdId: string): Promise<IsolateEffect | Ended | undefined> {
    await this.resume()
    return this.#oneByOne(async () => {
      const { phase, record, ended } = this.#desired.read()
      if (phase === 'isolated' && record?.cmd_id === cmdId) return this.#rules.prove(record, START_CONFIRM_MS)
      return ended.find((one) => one.cmd_id === cmdId)
    })
  }

  isReleaseCode(code: string): boolean {
    const digest = this.#desired.readOrLost().record?.release_code_sha256
    return typeof digest === 'string' && hasSha256(code, digest)
  }

  containment(): Containment {
    const drift_count = this.#drifts + (this.#watch?.drifts ?? 0)
    try {
      const { phase, record } = this.#desired.read()
      if (!record) return { phase, drift_count }
      return { phase, command_id: record.cmd_id, expires_at: this.#rules.expiresAt(record), drift_count }
    } catch {
      return { phase: 'unknown', drift_count }
    }
  }

  async #isolate(order: IsolationOrder, controllers: readonly OpenAddress[], report: Report): Promise<IsolateEffect> {
    const { platform, link, clock, timing } = this.#parts
    const lapseAfterS = timing?.lapseAfterS ?? LAPSE_S
    const before = withoutOurTable(await platform.firewall.ruleset())
    let record: IsolationRecord = {
      ...this.#asked(order, controllers),
      before_sha256: sha256(before),
      targets: [...foreignTargets(platform.network, controllers)],
    }
    try {
      this.#store.saveBefore(before)
      this.#desired.write({ phase: 'applying', record })
      order.step('isolate.before-recorded')
      const start = clock.monotonic()
      const applied = await platform.firewall.apply(this.#rules.rules(controllers, lapseAfterS))
      record = { ...record, applied_ms: clock.monotonic() - start }
      order.step('isolate.rules-applied')
      if (!applied.ok) return await this.#rollBack(record, 'action_failed', applied.why)
      const confirmed = await link.confirm(timing?.confirmMs ?? CONFIRM_MS)
      if (!confirmed.ok) return await this.#rollBack(record, 'not_confirmed', `${confirmed.code}: ${confirmed.why}`)
      // An answer that came when the rules had lapsed did not come over them.
      if (clock.monotonic() - start >= lapseAfterS * 1000) {
        return await this.#rollBack(record, 'not_confirmed', 'the answer came too late')
      }
      order.step('isolate.controller-confirmed')
      record = { ...record, ...this.#asked(order, controllers), confirmed_ms: confirmed.value }
      this.#desired.write({ phase: 'isolated', record })
    } catch (error) {
      return await this.#rollBack(record, 'action_failed', reasonOf(error))
    }
    order.step('isolate.state-isolated')
    return this.#enforce(order, record, report)
  }

  /** A new hold for a host that is isolated already: nothing opens meanwhile, and no controller that could be reached is lost. */
  async #renew(
    order: IsolationOrder,
    present: IsolationRecord,
    controllers: readonly OpenAddress[],
    report: Report,
  ): Promise<IsolateEffect> {
    const confirmed = await this.#parts.link.confirm(this.#parts.timing?.confirmMs ?? CONFIRM_MS)
    if (!confirmed.ok) {
      return failed('not_confirmed', `${confirmed.code}: ${confirmed.why}; isolation ${present.cmd_id} stays in force`)
    }
    await this.#stopWatch()
    const all = openAddressesOf([...controllers, ...present.controllers].map(withZone))
    const record = { ...present, ...this.#asked(order, all), confirmed_ms: confirmed.value }
    const why = `replaced by isolation ${order.cmdId}`
    const replaced: Ended = { cmd_id: present.cmd_id, cause: 'overridden', why, evidence: {}, reported: false }
    this.#desired.write({ phase: 'isolated', record, ended: replaced })
    order.step('isolate.state-isolated')
    const effect = await this.#enforce(order, record, report)
    await this.#desired.tellEnded(this.#parts.onEnded)
    return effect
  }

  /** From here on the host must be isolated: what fails is told and tried again by the guard, never taken back. */
  async #enforce(order: IsolationOrder, decided: IsolationRecord, report: Report): Promise<IsolateEffect> {
    const { network } = this.#parts.platform
    try {
      this.#store.writeBootFile(decided)
      order.step('isolate.boot-file-written')
      const put = await this.#rules.reassert()
      order.step('isolate.rules-made-permanent')
      if (!put.ok) return refuted(put.why, await this.#rules.evidence(decided))
      const closed = await network.closeConnections(decided.controllers)
      const now = this.#desired.record()
      const record = closed === undefined ? now : { ...now, sockets_closed: closed }
      this.#desired.write({ phase: 'isolated', record })
      order.step('isolate.connections-closed')
      const applied = { state: 'applied', evidence: await this.#rules.evidence(record) } as const
      const [effect] = await Promise.all([this.#rules.prove(record), report(applied)])
      order.step('isolate.probed')
      return effect
    } catch (error) {
      return refuted(reasonOf(error), recordEvidence(decided))
    } finally {
      this.#startWatch()
    }
  }

  async #rollBack(record: IsolationRecord, code: Failure, why: string): Promise<IsolateEffect> {
    const { log } = this.#parts
    const free = await this.#rules.deleteTable()
    if (!free.ok) {
      // The state stays `applying`: the next start tries again, and meanwhile unconfirmed rules lapse in the kernel.
      log.error(LOG.rollBackUnverified, { command_id: record.cmd_id, why: free.why })
      return failed(code, `${why}; NOT rolled back: ${free.why}`)
    }
    const evidence = { ...recordEvidence(record), ...comparedWithBefore(record, free.value) }
    try {
      const ended: Ended = { cmd_id: record.cmd_id, cause: 'rolled_back', why, evidence, reported: true }
      this.#desired.write({ phase: 'none', ended })
    } catch (error) {
      // The disk still says `applying`, or never did: the next start rolls back what is not there, which changes nothing.
      this.#desired.forget()
      log.error(LOG.stateUnwritable, { command_id: record.cmd_id, error: reasonOf(error) })
    }
    log.warn(LOG.rolledBack, { command_id: record.cmd_id, code, why })
    const same = evidence.ruleset_restored === true ? 'the ruleset is the one before' : 'our table is gone'
    return failed(code, `${why}; rolled back and verified: ${same}`, evidence)
  }

  /** Desired first, then the file that a boot loads, then the rules: whichever step is the last one done, the next start finishes. */
  async #release(ending: Ending, step: Step, confirmMs = PROBE_CONFIRM_MS): Promise<ReleaseEffect> {
    const { platform, log } = this.#parts
    const record = this.#desired.readOrLost().record
    const earlier = this.#watch?.packetsBeforeDrift ?? 0
    await this.#stopWatch()
    try {
      const isNoted = record === undefined || this.#desired.beginRelease({ ...record, ending })
      step('release.state-releasing')
      // While the state on disk says that it is isolated, so does the boot file.
      if (isNoted) this.#store.removeBootFile()
      step('release.boot-file-removed')
      const dropped = earlier + total(await platform.firewall.counters())
      const others = withoutOurTable(await platform.firewall.ruleset())
      const free = await this.#rules.deleteTable()
      step('release.rules-deleted')
      if (!free.ok) return this.#notFree(record, `the rules are still there: ${free.why}`)
      const evidence = { ...comparedWithBefore(record, free.value), dropped_packets: dropped }
      const ended: Ended | undefined = record && {
        cmd_id: record.cmd_id,
        ...ending,
        evidence,
        reported: ending.cause === 'ordered',
      }
      const unkept = this.#desired.endRelease(ended, isNoted)
      step('release.state-cleared')
      if (unkept !== undefined) {
        const why = `the host is free, but would be isolated again by a restart, since its disk does not take that: ${unkept}`
        return failed('action_failed', why, evidence)
      }
      if (record) log.info(LOG.released, { command_id: record.cmd_id, cause: ending.cause, why: ending.why })
      const probes = await probeRelease(record?.targets ?? [], this.#rules.probeParts(confirmMs))
      step('release.probed')
      const all = [rulesetProbe(evidence.ruleset_restored, others, free.value), ...probes].slice(0, MAX_PROBES)
      const cut = mustBeOpen(probes)
      const whole = { ...evidence, probes: all }
      return cut === undefined ? { state: 'verified', evidence: whole } : refuted(cut, whole)
    } catch (error) {
      return this.#notFree(record, reasonOf(error))
    }
  }

  /** Not free yet: a release is owed, whoever asked for it, until the host is free or isolated anew. */
  #notFree(record: IsolationRecord | undefined, why: string): ReleaseEffect {
    if (record) this.#owed.owe()
    return failed('action_failed', why)
  }

  async #resume(record: IsolationRecord, seenIntact: number): Promise<void> {
    const { platform, clock, log, emit } = this.#parts
    const anchored = { ...record, hold: anchoredHere(record.hold, clock, platform.bootId()) }
    const intact = isTable(record, await platform.firewall.table())
    this.#desired.write({ phase: 'isolated', record: anchored })
    this.#store.writeBootFile(anchored)
    if (!intact) {
      const put = await this.#rules.reassert()
      // Without a digest the crash was before the rules were permanent: then nobody has touched them.
      if (put.ok && record.table_sha256 !== undefined) {
        this.#drifts++
        const gapMs = Math.max(0, clock.now() - seenIntact)
        const reason = 'the rules were not in force when the agent started; put back'
        emit(driftEvent({ at: clock.now(), commandId: record.cmd_id, gapMs, packets: 0, reason }))
      }
      if (!put.ok) log.error(LOG.reassertFailed, { command_id: record.cmd_id, why: put.why })
    }
    log.info(LOG.resumed, { command_id: record.cmd_id, intact })
    this.#startWatch()
  }

  /** What an interrupted run left half done, finished or taken back. */
  async #settled(): Promise<IsolationState> {
    const { phase, record } = this.#desired.read()
    if (phase === 'applying' && record) await this.#rollBack(record, 'interrupted', 'the agent stopped in the middle')
    if (phase === 'releasing' && record?.ending) await this.#release(record.ending, noStep)
    return this.#desired.read()
  }

  #startWatch(): void {
    const { platform, clock, link, log, emit, timing } = this.#parts
    const { cmd_id, on_controller_loss } = this.#desired.record()
    this.#watch = new IsolationWatch({
      commandId: cmd_id,
      onControllerLoss: on_controller_loss,
      firewall: platform.firewall,
      link,
      clock,
      log,
      emit,
      leftMs: () => this.#rules.leftMs(this.#desired.record()),
      isIntact: (table) => isTable(this.#desired.record(), table),
      reassert: () => this.#rules.reassert(),
      onIntact: () => this.#store.seenIntact(clock.now()),
      lapse: (why) => this.#lapse(cmd_id, why),
      lease: timing?.lease,
    })
    this.#watch.start()
  }

  async #stopWatch(): Promise<void> {
    await this.#watch?.stop()
    this.#drifts += this.#watch?.drifts ?? 0
    this.#watch = undefined
  }

  async #lapse(cmdId: string, why: string): Promise<void> {
    await this.#oneByOne(async () => {
      const { phase, record } = this.#desired.read()
      // Released or renewed while the controller was asked.
      if (phase !== 'isolated' || record?.cmd_id !== cmdId || this.#rules.leftMs(record) > 0) return
      await this.#release({ cause: 'lapsed', why }, noStep)
      await this.#desired.tellEnded(this.#parts.onEnded)
    })
  }

  #asked(order: IsolationOrder, controllers: readonly OpenAddress[]) {
    const { clock, platform } = this.#parts
    const { hold_s, on_controller_loss, release_code_sha256 } = order.args
    return {
      cmd_id: order.cmdId,
      controllers: [...controllers],
      hold: holdFor(hold_s * 1000, clock, platform.bootId()),
      on_controller_loss,
      release_code_sha256: release_code_sha256 ?? null,
      ruleset: this.#rules.rules(controllers),
    }
  }

  #oneByOne<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work)
    this.#tail = done.catch(() => undefined)
    return done
  }
}

function withZone(address: OpenAddress) {
  return { ip: address.link === undefined ? address.ip : `${address.ip}%${address.link}`, port: address.port }
}
