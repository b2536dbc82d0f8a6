/** Reads JSON that this controller wrote. A column that does not hold what it should is a bug or a broken disk, so it is thrown. */
import { Fault } from '@firebreak/shared/result.ts'

export function textsOf(column: string): string[] {
  const value: unknown = parse(column)
  if (!Array.isArray(value)) throw new Fault('bad_column', 'a list was expected in the state store')
  return value.filter((entry) => typeof entry === 'string')
}

export function recordsOf(column: string): Record<string, unknown>[] {
  const value: unknown = parse(column)
  if (!Array.isArray(value)) throw new Fault('bad_column', 'a list was expected in the state store')
  return value.filter(isRecord)
}

export function recordOf(column: string): Record<string, unknown> {
  const value: unknown = parse(column)
  if (!isRecord(value)) throw new Fault('bad_column', 'an object was expected in the state store')
  return value
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parse(column: string): unknown {
  try {
    return JSON.parse(column)
  } catch (cause) {
    throw new Fault('bad_column', 'a column of the state store is not JSON', { cause })
  }
}
