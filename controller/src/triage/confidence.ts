import type { ConfidencePart } from './index.ts'

/** Sum of parts → confidence 0..100 with one decimal: what is shown is what is compared with a threshold. */
export function confidenceOf(parts: readonly ConfidencePart[]): number {
  return Math.round(1000 * sigmoid(logOddsOf(parts))) / 10
}

export function logOddsOf(parts: readonly ConfidencePart[]): number {
  return parts.reduce((sum, part) => sum + part.logOdds, 0)
}

function sigmoid(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds))
}
