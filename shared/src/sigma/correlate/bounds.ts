/** The comparisons of a correlation's condition; all must hold. */
import type { SigmaCorrelation } from '../rule.ts'

export type Bounds = SigmaCorrelation['bounds']

export function within(bounds: Bounds, measured: number): boolean {
  for (const { operator, value } of bounds) if (!holds(operator, measured, value)) return false
  return true
}

function holds(operator: Bounds[number]['operator'], measured: number, value: number): boolean {
  switch (operator) {
    case 'gt':
      return measured > value
    case 'gte':
      return measured >= value
    case 'lt':
      return measured < value
    case 'lte':
      return measured <= value
    case 'eq':
      return measured === value
    case 'neq':
      return measured !== value
    default:
      throw new Error('unhandled comparison', { cause: operator satisfies never })
  }
}
