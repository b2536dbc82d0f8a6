/** Clocks of the kernel turned into the host's wall clock. */
export interface RecordTimes {
  /** Wall time, ms since 1970, of something that the monotonic clock dates so. */
  wallMs(monotonicNs: bigint): number
}

/** The clocks are compared once a batch: to ask for each record costs more than the record. */
export class BatchTimes implements RecordTimes {
  readonly #nowMs: () => number
  readonly #monotonicNs: () => bigint
  #wallAheadMs = 0

  constructor(nowMs: () => number, monotonicNs: () => bigint = () => process.hrtime.bigint()) {
    this.#nowMs = nowMs
    this.#monotonicNs = monotonicNs
    this.compare()
  }

  compare(): void {
    this.#wallAheadMs = this.#nowMs() - Number(this.#monotonicNs()) / 1e6
  }

  wallMs(monotonicNs: bigint): number {
    return this.#wallAheadMs + Number(monotonicNs) / 1e6
  }
}

let second = Number.NaN
let secondText = ''

/** As Date.toISOString; the part before the milliseconds is made once a second, not for each of a thousand events. */
export function isoOf(ms: number): string {
  const whole = Math.floor(ms)
  const at = Math.floor(whole / 1_000)
  if (at !== second) {
    secondText = new Date(at * 1_000).toISOString().slice(0, 20)
    second = at
  }
  return `${secondText}${String(whole - at * 1_000).padStart(3, '0')}Z`
}

/** Field 22 of proc_pid_stat(5): clock ticks of 10 ms. */
export function ticksOf(boottimeNs: bigint): number {
  return Number(boottimeNs / 10_000_000n)
}
