/**
 * Who may have a batch stored next. Each connection has a lane of its own; the lanes take turns, so that whoever floods waits behind
 * itself and not in front of others. Each agent has a rate. What may wait is told to the agents as credit: it shrinks when the store
 * falls behind, so that their spools hold what we cannot. Whatever they do, what waits here is bounded: past it nobody's telemetry is
 * read from the socket until it is less.
 */
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { Credit } from '@firebreak/shared/wire/messages.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { GatewayMetrics } from './log-names.ts'

export interface AdmissionLimits {
  /** Bytes of batches that wait, over all agents. */
  readonly queued_bytes: number
  /** Batches of all agents that are being stored at the same time, full ones; of small ones it is as many more. */
  readonly batches_at_once: number
  readonly events_per_agent_per_s: number
}

/** What a lane needs of its connection. */
export interface LaneOwner {
  readonly agentId: string
  credit(credit: Credit): void
  /** Nothing more is read from the socket until `resume`. */
  pause(): void
  resume(): void
}

export interface Lane {
  /** In the order of offering. Refused when more waits than any credit ever allowed. */
  offer(batch: Offered): boolean
  /** What the agent may have on the way. */
  readonly credit: Credit
  /** The connection is gone: what was not begun is dropped, the agent has it. */
  leave(): void
}

export interface Offered {
  readonly events: number
  /** Of the frame as it came. */
  readonly bytes: number
  /** Never rejects. */
  store(): Promise<void>
}

/** What the store behind says about itself. */
export interface StoreState {
  /** 0: nothing waits; 1: so much waits that nothing more should be taken, or nothing can be stored at all. */
  fullness(): number
}

/** Told when nothing is taken any more, and when it goes on. */
export type OnIntake = (state: 'stopped' | 'resumed') => void

/** A batch costs as much as so many events even if it holds none. */
const COST_OF_A_BATCH = 50
/** Of one lane at the same time: one full batch, or small ones that share a commit. More would wait in front of others. */
const COST_OF_A_LANE = WIRE.maxBatchEvents
const FULL: Credit = {
  events: WIRE.maxBatchesInFlight * WIRE.maxBatchEvents,
  bytes: WIRE.maxBatchesInFlight * WIRE.maxFrameBytes,
}
const LEAST_BYTES = 64 * KiB
/** The window of an agent, and what may be on the way while an ack is. */
const MAX_BATCHES_WAITING = 2 * WIRE.maxBatchesInFlight
const LOOK_AGAIN_MS = 50
/** Credit shrinks from here on. */
const BUSY_FROM = 0.5
/** A batch that takes so long to be stored says that the disk is slow. */
const SLOW_MS = 500
/** Weight of the newest of these times. */
const SMOOTHING = 0.2

export class Admission {
  readonly #limits: AdmissionLimits
  readonly #store: StoreState
  readonly #metrics: GatewayMetrics
  /** ms. */
  readonly #tick: () => number
  readonly #lanes = new Set<AgentLane>()
  /** Lanes with something to store, in the order of their turn. */
  readonly #turns: AgentLane[] = []
  /** Rates outlive connections: whoever comes again has no fresh bucket. */
  readonly #buckets = new Map<string, Bucket>()
  readonly #timer: NodeJS.Timeout
  #queuedBytes = 0
  /** Cost of what is being stored. */
  #running = 0
  #storeMs = 0
  #paused = false
  #stopped = false
  readonly #onIntake: OnIntake

  constructor(
    limits: AdmissionLimits,
    store: StoreState,
    metrics: GatewayMetrics,
    tick: () => number,
    onIntake: OnIntake,
  ) {
    this.#limits = limits
    this.#store = store
    this.#metrics = metrics
    this.#tick = tick
    this.#onIntake = onIntake
    this.#timer = setInterval(() => this.#lookAgain(), LOOK_AGAIN_MS)
    this.#timer.unref()
  }

  join(owner: LaneOwner): Lane {
    const lane = new AgentLane(owner, this.#bucketOf(owner.agentId), this.#creditNow(this.#lanes.size + 1), {
      offered: (joined, batch) => this.#offered(joined, batch),
      left: (joined) => this.#left(joined),
    })
    this.#lanes.add(lane)
    if (this.#paused) lane.owner.pause()
    return lane
  }

  /** Bytes of batches that wait now. */
  queuedBytes(): number {
    return this.#queuedBytes
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#resume()
  }

  #offered(lane: AgentLane, batch: Offered): void {
    this.#queuedBytes += batch.bytes
    this.#metrics.queuedBytes.set(this.#queuedBytes)
    if (!lane.hasTurn) {
      // Whoever has not waited for anything goes first (as new flows do in RFC 8290, 4.2): little telemetry never queues behind much.
      lane.hasTurn = true
      this.#turns.unshift(lane)
    }
    this.#admit()
    if (this.#queuedBytes > this.#limits.queued_bytes && !this.#paused) {
      this.#paused = true
      this.#metrics.paused.inc()
      for (const each of this.#lanes) each.owner.pause()
    }
  }

  #left(lane: AgentLane): void {
    this.#lanes.delete(lane)
    this.#queuedBytes -= lane.drop()
    this.#metrics.queuedBytes.set(this.#queuedBytes)
    this.#admit()
  }

  /** One batch of each lane in turn, as long as there is room. */
  #admit(): void {
    const now = this.#tick()
    for (let at = 0; at < this.#turns.length && this.#running < this.#limits.batches_at_once * WIRE.maxBatchEvents; ) {
      if (this.#store.fullness() >= 1) return
      const lane = this.#turns[at] as AgentLane
      const batch = lane.waiting[0]
      if (batch === undefined) {
        this.#turns.splice(at, 1)
        lane.hasTurn = false
      } else if (!lane.hasRoomFor(batch) || !lane.bucket.take(costOf(batch), now)) at++
      else {
        this.#turns.splice(at, 1)
        this.#turns.push(lane)
        lane.waiting.shift()
        void this.#run(lane, batch)
        at = 0
      }
    }
  }

  async #run(lane: AgentLane, batch: Offered): Promise<void> {
    const began = this.#tick()
    const cost = costOf(batch)
    this.#running += cost
    lane.running += cost
    lane.batches++
    this.#queuedBytes -= batch.bytes
    try {
      await batch.store()
    } finally {
      this.#running -= cost
      lane.running -= cost
      lane.batches--
      this.#storeMs += (this.#tick() - began - this.#storeMs) * SMOOTHING
      this.#metrics.queuedBytes.set(this.#queuedBytes)
      this.#resumeWhenLess()
      this.#admit()
    }
  }

  #lookAgain(): void {
    // With nothing under way nothing new is learned about the disk: it gets another try.
    if (this.#running === 0) this.#storeMs *= 1 - SMOOTHING
    this.#tellOfIntake()
    this.#resumeWhenLess()
    this.#admit()
    const credit = this.#creditNow(this.#lanes.size)
    for (const lane of this.#lanes) lane.offerCredit(credit)
    const now = this.#tick()
    for (const [agentId, bucket] of this.#buckets) if (bucket.isFull(now)) this.#buckets.delete(agentId)
  }

  #tellOfIntake(): void {
    const stopped = this.#store.fullness() >= 1
    if (stopped === this.#stopped) return
    this.#stopped = stopped
    this.#metrics.intakeStopped.set(stopped ? 1 : 0)
    this.#onIntake(stopped ? 'stopped' : 'resumed')
  }

  #resumeWhenLess(): void {
    if (this.#paused && this.#queuedBytes <= this.#limits.queued_bytes / 2) this.#resume()
  }

  #resume(): void {
    this.#paused = false
    for (const lane of this.#lanes) lane.owner.resume()
  }

  #creditNow(lanes: number): Credit {
    const fullness = this.#store.fullness()
    const free = fullness <= BUSY_FROM ? 1 : Math.max(0, (1 - fullness) / (1 - BUSY_FROM))
    const share = Math.min(free, SLOW_MS / Math.max(SLOW_MS, this.#storeMs))
    const bytes = Math.min(FULL.bytes, this.#limits.queued_bytes / Math.max(1, lanes)) * share
    return {
      events: Math.max(1, Math.floor(FULL.events * share)),
      bytes: Math.max(LEAST_BYTES, Math.floor(bytes)),
    }
  }

  #bucketOf(agentId: string): Bucket {
    let bucket = this.#buckets.get(agentId)
    if (!bucket) {
      bucket = new Bucket(this.#limits.events_per_agent_per_s, this.#tick())
      this.#buckets.set(agentId, bucket)
    }
    return bucket
  }
}

interface LaneHooks {
  offered(lane: AgentLane, batch: Offered): void
  left(lane: AgentLane): void
}

class AgentLane implements Lane {
  readonly owner: LaneOwner
  readonly bucket: Bucket
  readonly waiting: Offered[] = []
  /** Being stored: what they cost, and how many they are. */
  running = 0
  batches = 0
  hasTurn = false
  readonly #hooks: LaneHooks
  #credit: Credit
  #left = false

  constructor(owner: LaneOwner, bucket: Bucket, credit: Credit, hooks: LaneHooks) {
    this.owner = owner
    this.bucket = bucket
    this.#credit = credit
    this.#hooks = hooks
  }

  get credit(): Credit {
    return this.#credit
  }

  offer(batch: Offered): boolean {
    if (this.#left) return true
    if (this.waiting.length + this.batches >= MAX_BATCHES_WAITING) return false
    this.waiting.push(batch)
    this.#hooks.offered(this, batch)
    return true
  }

  hasRoomFor(batch: Offered): boolean {
    return this.running === 0 || this.running + costOf(batch) <= COST_OF_A_LANE
  }

  leave(): void {
    if (this.#left) return
    this.#left = true
    this.#hooks.left(this)
  }

  /** Returns the bytes that waited. */
  drop(): number {
    return this.waiting.splice(0).reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Small differences are not worth a message. */
  offerCredit(credit: Credit): void {
    if (isNear(credit.events, this.#credit.events) && isNear(credit.bytes, this.#credit.bytes)) return
    this.#credit = credit
    this.owner.credit(credit)
  }
}

function isNear(one: number, other: number): boolean {
  return Math.abs(one - other) <= 0.2 * Math.max(one, other)
}

function costOf({ events }: Offered): number {
  return Math.max(COST_OF_A_BATCH, events)
}

/** May go into debt by one batch, so that a batch larger than the bucket is possible at all. */
class Bucket {
  readonly #perS: number
  #tokens: number
  #at: number

  constructor(perS: number, now: number) {
    this.#perS = perS
    this.#tokens = perS
    this.#at = now
  }

  take(cost: number, now: number): boolean {
    this.#fill(now)
    if (this.#tokens <= 0) return false
    this.#tokens -= cost
    return true
  }

  isFull(now: number): boolean {
    this.#fill(now)
    return this.#tokens >= this.#perS
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#perS, this.#tokens + ((now - this.#at) / 1_000) * this.#perS)
    this.#at = now
  }
}
