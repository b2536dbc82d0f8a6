/**
 * Binds parameters as literals of their type. chDB binds them itself only for one statement at a time in the whole process, so that one
 * slow search would hold up everybody's. In a literal of ClickHouse only the backslash and the quote mean anything (ClickHouse, SQL
 * reference, Syntax: String); everything else stands for itself.
 */
import { Fault } from '@firebreak/shared/result.ts'
import type { Params } from './telemetry-store.ts'

const PLACEHOLDER = /\{(\w+):([A-Za-z0-9]+(?:\([A-Za-z0-9]+\))?)\}/g

/** In one pass, so that what stands in a value is never taken for a placeholder. */
export function withLiterals(sql: string, params: Params): string {
  return sql.replaceAll(PLACEHOLDER, (_, name: string, type: string) => {
    const value = Object.hasOwn(params, name) ? params[name] : undefined
    if (value === undefined)
      throw new Fault('unbound_parameter', `the statement asks for {${name}:${type}} and has no such value`)
    return `cast(${literal(value)}, '${type}')`
  })
}

function literal(value: Params[string]): string {
  if (typeof value === 'object') return `[${value.map((item) => literal(item)).join(',')}]`
  if (typeof value === 'number') {
    if (!Number.isFinite(value))
      throw new Fault('unbound_parameter', 'a number that is not finite cannot be searched for')
    return String(value)
  }
  return quoted(value)
}

/** A text as a literal, also where the engine takes no parameter. */
export function quoted(text: string): string {
  return `'${text.replaceAll(/[\\']/g, String.raw`\$&`)}'`
}
