const MIN_MS = Date.UTC(1, 0, 1)
const MAX_MS = Date.UTC(9_999, 11, 31)

/** Undefined for a time that no four-digit year holds: any owner of a file may set one. */
export function isoOfMs(ms: number): string | undefined {
  return ms >= MIN_MS && ms <= MAX_MS ? new Date(ms).toISOString() : undefined
}

export function isoOfNs(ns: bigint): string | undefined {
  return isoOfMs(Number(ns / 1_000_000n))
}
