/** One benchmark: what it measures, and the figures. Ratios compare with a peer or a limit measured in the same run. */
export interface Bench {
  readonly name: string
  readonly describe: string
  run(options: BenchOptions): Promise<BenchResult>
}

export interface BenchOptions {
  /** A short form for CI: fewer rounds, the same code. */
  readonly short: boolean
  /** Progress for people, on standard error. */
  readonly say: (line: string) => void
}

export interface BenchResult {
  /** Unit in the name: `_ms`, `_per_s`, `_bytes`, `_percent`. */
  readonly metrics: Readonly<Record<string, number>>
  readonly ratios: Readonly<Record<string, number>>
}

/** The value below which a share `p` (0..1) of the numbers lies; nearest rank. */
export function percentile(numbers: readonly number[], p: number): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))] ?? Number.NaN
}
