/**
 * The isolation of this host: one desired state, whoever asks (an order, the lease, somebody at the host, a restart). Calls are carried
 * out one after the other; each durable step has a name, and after a crash at any of them `resume` ends in the desired or the earlier
 * state, never in between. The order of the steps is explained in README.md of the room above.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Failure, Refusal } from '@firebreak/shared/commands/command.ts'
import type { IsolateHost, IsolationEvidence } from '@firebreak/shared/commands/isolate-host.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import type { ControllerLink } from '../../link/controller-link.ts'
import type { Platform } from '../../platform/platform.ts'
import type { Effect } from '../action.ts'
import type { Log } from '../../log.ts'
import { openAddressesOf, type OpenAddress, textOf } from './controller-address.ts'
import { driftEvent } from './drift-event.ts'
import { total } from './drift-guard.ts'
import { anchoredHere, holdFor, leftMs } from './lease.ts'
import { LOG } from './log-names.ts'
import { probeIsolation, probeRelease, type ProbeParts } from './probes.ts'
import { isolationRuleset, withoutOurTable } from './ruleset.ts'
import {
  type Ended,
  type Ending,
  type IsolationRecord,
  IsolationStore,
  type IsolationState,
  type Phase,
} from './state.ts'
import { foreignTargets } from './targets.ts'
import { isolationVerdict, mustBeOpen } from './verdict.ts'
import { IsolationWatch, type LeaseTiming } from './watch.ts'

/** Durable steps in their order; each is told after it is done. */
export const ISOLATE_STEPS = [
  'isolate.before-recorded',
  'isolate.rules-applied',
  'isolate.controller-confirmed',
  'isolate.state-isolated',
  'isolate.boot-file-written',
  'isolate.rules-made-permanent',
  'isolate.table-recorded',
  'isolate.connections-closed',
  'isolate.probed',
] as const
export const RELEASE_STEPS = [
  'release.state-releasing',
  'release.boot-file-removed',
  'release.rules-deleted',
  'release.state-cleared',
  'release.probed',
] as const

/** Until the signed answer over the new rules must be there, ms; and until unconfirmed rules lapse in the kernel by themselves, s. */
const CONFIRM_MS = 13_000
const LAPSE_S = 15
const ENDED_KEPT = 8
const DELETE_TRIES = 3

export interface IsolationTiming {
  readonly confirmMs?: number
  readonly lapseAfterS?: number
  readonly lease?: LeaseTiming
}

export interface IsolationParts {
  readonly platform: Platform
  readonly link: ControllerLink
  readonly stateDir: string
  readonly clock: Clock
  readonly log: Log
  readonly emit: (event: Event) => void
  /** An isolation ended without an order to end it; resolves when that is durable where receipts are kept. */
  readonly onEnded: (cmdId: string, effect: Effect<'isolate-host'>) => Promise<void>
  /** Shorter in tests. */
  readonly timing?: IsolationTiming | undefined
}

export interface Containment {
  /** unknown: the state on disk cannot be read; the rules are left as they are. */
  readonly phase: Phase | 'unknown'
  readonly command_id?: string
  readonly expires_at?: string
  readonly drift_count: number
}

export interface IsolationOrder {
  readonly cmdId: string
  readonly args: IsolateHost
  readonly step: (name: string) => void
}

type IsolateEffect = Effect<'isolate-host'>
type ReleaseEffect = Effect<'release-host'>

export class Isolation {
  readonly #parts: IsolationParts
  readonly #store: IsolationStore
  #state: IsolationState | undefined
  #watch: IsolationWatch | undefined
  #drifts = 0
  #tail: Promise<unknown> = Promise.resolve()

  constructor(parts: IsolationParts) {
    this.#parts = parts
    this.#store = new IsolationStore(parts.stateDir)
  }

  /** Whether this host could be isolated now. Changes nothing. */
  async check(): Promise<Result<void, Refusal>> {
    const { platform, link } = this.#parts
    const controllers = openAddressesOf(await link.controllers())
    const can = await platform.firewall.canRun(this.#rules(controllers, LAPSE_S))
    if (!can.ok) return can
    const unwritable = this.#store.unwritable()
    if (unwritable !== undefined) return refuse('unsupported', `the state folder cannot be written: ${unwritable}`)
    if (controllers.length === 0) return refuse('precondition_failed', 'no address of a controller is known')
    return ok()
  }

  isolate(order: IsolationOrder, report: (effect: IsolateEffect) => Promise<void>): Promise<IsolateEffect> {
    return this.#oneByOne(async () => {
      const state = await this.#settled()
      const present = state.phase === 'isolated' ? state.record : undefined
      if (present?.cmd_id === order.cmdId) return this.#prove(present)
      const controllers = openAddressesOf(await this.#parts.link.controllers())
      if (controllers.length === 0) return failed('action_failed', 'no address of a controller is known')
      return present ? this.#renew(order, present, controllers, report) : this.#isolate(order, controllers, report)
    })
  }

  /** Ends the isolation, whatever is left of it; on a host that is not isolated it makes sure of that. */
  release(ending: Ending, step: (name: string) => void = () => undefined): Promise<ReleaseEffect> {
    return this.#oneByOne(async () => {
      const effect = await this.#release(ending, step)
      await this.#tellEnded()
      return effect
    })
  }

  /** Looks whether the host is free, and at what it reaches. */
  verifyFree(): Promise<ReleaseEffect> {
    return this.#oneByOne(async () => {
      const { phase, record } = await this.#settled()
      if (phase === 'none') return this.#release({ cause: 'ordered', why: 'not isolated' }, () => undefined)
      return failed('overridden', `isolated by ${record?.cmd_id ?? 'nobody'}`)
    })
  }

  /** Probes again for an isolation that is in force. */
  verify(cmdId: string): Promise<IsolateEffect> {
    return this.#oneByOne(async () => {
      const { phase, record } = await this.#settled()
      if (phase === 'isolated' && record?.cmd_id === cmdId) return this.#prove(record)
      return failed('overridden', 'this isolation is not in force')
    })
  }

  /** Once at the start: what was half done is finished or taken back, what must be in force is, and it is watched. */
  resume(): Promise<void> {
    return this.#oneByOne(async () => {
      const seenIntact = this.#store.lastSeenIntactMs()
      const { phase, record } = await this.#settled()
      if (phase === 'isolated' && record) await this.#resume(record, seenIntact)
      else if ((await this.#parts.platform.firewall.table()) !== undefined)
        this.#parts.log.warn(LOG.unexpectedTable, {})
      await this.#tellEnded()
    })
  }

  async stop(): Promise<void> {
    await this.#oneByOne(() => this.#stopWatch())
  }

  /** Finishes or takes back what an earlier run left, and says how the isolation of this order ended, if it did. */
  endOf(matches: (ended: Ended) => boolean): Promise<Ended | undefined> {
    return this.#oneByOne(async () => (await this.#settled()).ended.find(matches))
  }

  async isIsolatedBy(cmdId: string): Promise<boolean> {
    const { phase, record } = await this.#oneByOne(() => this.#settled())
    return phase === 'isolated' && record?.cmd_id === cmdId
  }

  isReleaseCode(code: string): boolean {
    const digest = this.#readOrLost().record?.release_code_sha256
    return digest !== undefined && sha256(code) === digest
  }

  containment(): Containment {
    const drift_count = this.#drifts + (this.#watch?.drifts ?? 0)
    try {
      const { phase, record } = this.#read()
      if (!record) return { phase, drift_count }
      return { phase, command_id: record.cmd_id, expires_at: this.#expiresAt(record), drift_count }
    } catch {
      return { phase: 'unknown', drift_count }
    }
  }

  async #isolate(
    order: IsolationOrder,
    controllers: readonly OpenAddress[],
    report: (effect: IsolateEffect) => Promise<void>,
  ): Promise<IsolateEffect> {
    const { platform, link, clock, timing } = this.#parts
    const before = withoutOurTable(await platform.firewall.ruleset())
    let record: IsolationRecord = {
      ...this.#asked(order, controllers),
      before_sha256: sha256(before),
      targets: [...foreignTargets(platform.network, controllers)],
    }
    try {
      this.#store.saveBefore(before)
      this.#write({ phase: 'applying', record })
      order.step('isolate.before-recorded')
      const start = clock.monotonic()
      const lapseAfterS = timing?.lapseAfterS ?? LAPSE_S
      const applied = await platform.firewall.apply(this.#rules(controllers, lapseAfterS))
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
      this.#write({ phase: 'isolated', record })
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
    report: (effect: IsolateEffect) => Promise<void>,
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
    this.#write({ phase: 'isolated', record, ended: replaced })
    order.step('isolate.state-isolated')
    const effect = await this.#enforce(order, record, report)
    await this.#tellEnded()
    return effect
  }

  /** From here on the host must be isolated: what fails is told and tried again by the guard, never taken back. */
  async #enforce(
    order: IsolationOrder,
    decided: IsolationRecord,
    report: (effect: IsolateEffect) => Promise<void>,
  ): Promise<IsolateEffect> {
    const { platform } = this.#parts
    try {
      this.#store.writeBootFile(decided)
      order.step('isolate.boot-file-written')
      const put = await this.#reassert()
      order.step('isolate.rules-made-permanent')
      if (!put.ok) return refuted(put.why, await this.#evidence(decided))
      order.step('isolate.table-recorded')
      const closed = await platform.network.closeConnections(decided.controllers)
      const record = { ...this.#record(), ...(closed === undefined ? {} : { sockets_closed: closed }) }
      this.#write({ phase: 'isolated', record })
      order.step('isolate.connections-closed')
      const [effect] = await Promise.all([
        this.#prove(record),
        report({ state: 'applied', evidence: await this.#evidence(record) }),
      ])
      order.step('isolate.probed')
      return effect
    } catch (error) {
      return refuted(reasonOf(error), { controllers: decided.controllers.map(textOf) })
    } finally {
      this.#startWatch()
    }
  }

  async #rollBack(record: IsolationRecord, code: Failure, why: string): Promise<IsolateEffect> {
    const { log } = this.#parts
    const free = await this.#deleteTable()
    if (!free.ok) {
      // The state stays `applying`: the next start tries again, and meanwhile unconfirmed rules lapse in the kernel.
      log.error(LOG.rollBackUnverified, { command_id: record.cmd_id, why: free.why })
      return failed(code, `${why}; NOT rolled back: ${free.why}`)
    }
    const evidence: IsolationEvidence = {
      ...this.#compared(record, free.value),
      controllers: record.controllers.map(textOf),
      ...(record.applied_ms === undefined ? {} : { applied_ms: record.applied_ms }),
    }
    const ended: Ended = { cmd_id: record.cmd_id, cause: 'rolled_back', why, evidence, reported: true }
    try {
      this.#write({ phase: 'none', ended })
    } catch (error) {
      // The disk still says `applying`, or never did: the next start rolls back what is not there, which changes nothing.
      this.#state = undefined
      log.error(LOG.stateUnwritable, { command_id: record.cmd_id, error: reasonOf(error) })
    }
    log.warn(LOG.rolledBack, { command_id: record.cmd_id, code, why })
    const same = evidence.ruleset_restored === true ? 'the ruleset is the one before' : 'our table is gone'
    return failed(code, `${why}; rolled back and verified: ${same}`, evidence)
  }

  async #release(ending: Ending, step: (name: string) => void): Promise<ReleaseEffect> {
    const { platform, log } = this.#parts
    const state = this.#readOrLost()
    if (state.phase === 'applying' && state.record) {
      const undone = await this.#rollBack(state.record, 'interrupted', 'a release was ordered')
      if (this.#read().phase !== 'none') return failed('action_failed', undone.state === 'failed' ? undone.why : '')
    }
    const { record } = state.phase === 'applying' ? { record: undefined } : state
    const earlier = this.#watch?.packetsBeforeDrift ?? 0
    await this.#stopWatch()
    if (record) this.#write({ phase: 'releasing', record: { ...record, ending } })
    step('release.state-releasing')
    this.#store.removeBootFile()
    step('release.boot-file-removed')
    const dropped = earlier + total(await platform.firewall.counters())
    const others = withoutOurTable(await platform.firewall.ruleset())
    const free = await this.#deleteTable()
    step('release.rules-deleted')
    if (!free.ok) return failed('action_failed', free.why)
    const compared = record ? this.#compared(record, free.value) : { ruleset_after_sha256: sha256(free.value) }
    const evidence: IsolationEvidence = { ...compared, dropped_packets: dropped }
    if (record) {
      this.#write({
        phase: 'none',
        ended: {
          cmd_id: record.cmd_id,
          ...ending,
          evidence,
          reported: ending.cause === 'ordered',
        },
      })
      log.info(LOG.released, { command_id: record.cmd_id, cause: ending.cause, why: ending.why })
    } else {
      this.#write({ phase: 'none' })
    }
    step('release.state-cleared')
    const probes = await probeRelease(record?.targets ?? [], this.#probeParts())
    step('release.probed')
    const ruleset = {
      name: 'ruleset',
      target: 'nft -s list ruleset',
      expected: 'open',
      found: 'open',
      detail: restorationOf(record !== undefined, compared.ruleset_restored, others === free.value),
    } as const
    const whole = { ...evidence, probes: [ruleset, ...probes] }
    const cut = mustBeOpen(probes)
    return cut === undefined ? { state: 'verified', evidence: whole } : refuted(cut, whole)
  }

  async #resume(record: IsolationRecord, seenIntact: number): Promise<void> {
    const { platform, clock, log, emit } = this.#parts
    const anchored = { ...record, hold: anchoredHere(record.hold, clock, platform.bootId()) }
    const intact = isTable(record, await platform.firewall.table())
    this.#write({ phase: 'isolated', record: anchored })
    this.#store.writeBootFile(anchored)
    if (!intact) {
      const put = await this.#reassert()
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
    const { phase, record } = this.#read()
    if (phase === 'applying' && record) await this.#rollBack(record, 'interrupted', 'the agent stopped in the middle')
    if (phase === 'releasing' && record?.ending) await this.#release(record.ending, () => undefined)
    return this.#read()
  }

  async #prove(record: IsolationRecord): Promise<IsolateEffect> {
    const proof = await probeIsolation(record.targets, this.#probeParts())
    const intact = isTable(record, await this.#parts.platform.firewall.table())
    const evidence = { ...(await this.#evidence(record)), probes: [...proof.probes].slice(0, 32) }
    const verdict = isolationVerdict(proof, intact)
    return verdict.ok ? { state: 'verified', evidence } : refuted(verdict.why, evidence)
  }

  /** The permanent rules of the record in force, and what the kernel makes of them noted. */
  async #reassert(): Promise<Result<void, 'rejected'>> {
    const { firewall } = this.#parts.platform
    const record = this.#record()
    const put = await firewall.apply(record.ruleset)
    if (!put.ok) return put
    const table = await firewall.table()
    if (table === undefined) return refuse('rejected', 'the table vanished as soon as it was made')
    const digest = sha256(table)
    if (digest !== record.table_sha256) this.#write({ phase: 'isolated', record: { ...record, table_sha256: digest } })
    return ok()
  }

  /** Our table gone, seen in the listing, which is returned. */
  async #deleteTable(): Promise<Result<string, 'rejected'>> {
    const { firewall } = this.#parts.platform
    let why = ''
    for (let i = 0; i < DELETE_TRIES; i++) {
      try {
        const deleted = await firewall.deleteTable()
        const listing = await firewall.ruleset()
        if (deleted.ok && withoutOurTable(listing) === listing) return ok(listing)
        why = deleted.ok ? 'the table is still listed' : deleted.why
      } catch (error) {
        why = reasonOf(error)
      }
      await this.#parts.clock.sleep(100)
    }
    return refuse('rejected', why)
  }

  #startWatch(): void {
    const { platform, clock, link, log, emit, timing } = this.#parts
    const { cmd_id, on_controller_loss } = this.#record()
    this.#watch = new IsolationWatch({
      commandId: cmd_id,
      onControllerLoss: on_controller_loss,
      firewall: platform.firewall,
      link,
      clock,
      log,
      emit,
      leftMs: () => leftMs(this.#record().hold, clock, platform.bootId()),
      isIntact: (table) => isTable(this.#record(), table),
      reassert: () => this.#reassert(),
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
      const { phase, record } = this.#read()
      // Released or renewed while the controller was asked.
      if (phase !== 'isolated' || record?.cmd_id !== cmdId) return
      if (leftMs(record.hold, this.#parts.clock, this.#parts.platform.bootId()) > 0) return
      await this.#release({ cause: 'lapsed', why }, () => undefined)
      await this.#tellEnded()
    })
  }

  /** Ends that no order asked for, until the receipts have them. */
  async #tellEnded(): Promise<void> {
    for (const ended of this.#read().ended.filter((one) => !one.reported)) {
      const code = ended.cause === 'lapsed' ? 'lapsed' : 'overridden'
      try {
        await this.#parts.onEnded(ended.cmd_id, { state: 'reverted', code, why: ended.why, evidence: ended.evidence })
        const all = this.#read().ended.map((one) => (one === ended ? { ...one, reported: true } : one))
        this.#keep({ ...this.#read(), ended: all })
      } catch (error) {
        this.#parts.log.error(LOG.endUnreported, { command_id: ended.cmd_id, error: reasonOf(error) })
      }
    }
  }

  #asked(order: IsolationOrder, controllers: readonly OpenAddress[]) {
    const { clock, platform } = this.#parts
    const { hold_s, on_controller_loss, release_code_sha256 } = order.args
    return {
      cmd_id: order.cmdId,
      controllers: [...controllers],
      hold: holdFor(hold_s * 1000, clock, platform.bootId()),
      on_controller_loss,
      ...(release_code_sha256 === undefined ? {} : { release_code_sha256 }),
      ruleset: this.#rules(controllers),
    }
  }

  #rules(controllers: readonly OpenAddress[], lapseAfterS?: number): string {
    const dhcpServers = this.#parts.platform.network.dhcpServers()
    const input = { controllers, dhcpServers, agentUid: process.geteuid?.() ?? 0 }
    return isolationRuleset(lapseAfterS === undefined ? input : { ...input, lapseAfterS })
  }

  async #evidence(record: IsolationRecord): Promise<IsolationEvidence> {
    const { firewall } = this.#parts.platform
    const { before_sha256, table_sha256, confirmed_ms, applied_ms, sockets_closed } = record
    const dropped = total(await firewall.counters()) + (this.#watch?.packetsBeforeDrift ?? 0)
    return {
      ruleset_before_sha256: before_sha256,
      ruleset_after_sha256: sha256(await firewall.ruleset()),
      ...(table_sha256 === undefined ? {} : { table_sha256 }),
      controllers: record.controllers.map(textOf).slice(0, 64),
      ...(confirmed_ms === undefined ? {} : { confirmed_ms }),
      ...(applied_ms === undefined ? {} : { applied_ms }),
      ...(sockets_closed === undefined ? {} : { sockets_closed }),
      dropped_packets: dropped,
      expires_at: this.#expiresAt(record),
    }
  }

  #compared(record: IsolationRecord, after: string): IsolationEvidence {
    const digest = sha256(after)
    return {
      ruleset_before_sha256: record.before_sha256,
      ruleset_after_sha256: digest,
      ruleset_restored: digest === record.before_sha256,
    }
  }

  #expiresAt(record: IsolationRecord): string {
    const { clock, platform } = this.#parts
    return new Date(clock.now() + leftMs(record.hold, clock, platform.bootId())).toISOString()
  }

  #probeParts(): ProbeParts {
    const { platform, link } = this.#parts
    return { firewall: platform.firewall, network: platform.network, confirm: (ms) => link.confirm(ms) }
  }

  #read(): IsolationState {
    this.#state ??= this.#store.read()
    return this.#state
  }

  /** For a release, a state that cannot be read is one to be cleared. */
  #readOrLost(): IsolationState {
    try {
      return this.#read()
    } catch (error) {
      this.#parts.log.error(LOG.stateLost, { error: reasonOf(error) })
      return { v: 1, phase: 'none', ended: [] }
    }
  }

  #record(): IsolationRecord {
    const { record } = this.#read()
    if (!record) throw new Error('no isolation is recorded')
    return record
  }

  #write(next: { readonly phase: Phase; readonly record?: IsolationRecord; readonly ended?: Ended }): void {
    const earlier = this.#readOrLost().ended
    const ended = next.ended ? [...earlier, next.ended].slice(-ENDED_KEPT) : earlier
    this.#keep({ v: 1, phase: next.phase, ...(next.record ? { record: next.record } : {}), ended })
  }

  #keep(state: IsolationState): void {
    this.#store.write(state)
    this.#state = state
  }

  #oneByOne<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work)
    this.#tail = done.catch(() => undefined)
    return done
  }
}

function isTable(record: IsolationRecord, table: string | undefined): boolean {
  return table !== undefined && sha256(table) === record.table_sha256
}

function restorationOf(wasIsolated: boolean, restored: boolean | undefined, othersSame: boolean): string {
  if (!wasIsolated) return 'the host was not isolated; no table of ours is there'
  if (restored === true) return 'byte for byte the one before the isolation'
  return othersSame
    ? 'others changed their rules during the isolation; exactly our table was taken away'
    : 'others changed their rules during the release; our table is gone'
}

function withZone(address: { readonly ip: string; readonly port: number; readonly link?: string }) {
  return { ip: address.link === undefined ? address.ip : `${address.ip}%${address.link}`, port: address.port }
}

function failed(code: Failure, why: string, evidence?: IsolationEvidence): IsolateEffect {
  return { state: 'failed', code, why: why.slice(0, 2_048), evidence }
}

function refuted(why: string, evidence: IsolationEvidence): IsolateEffect {
  return { state: 'refuted', code: 'effect_refuted', why: why.slice(0, 2_048), evidence }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
