/** Validation by the schemas themselves: query and path are text, so their values are converted first; a body must fit as it is. */
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import type { TSchema } from 'typebox'
import { type FieldError, ProblemError } from './problem.ts'

const MAX_ERRORS = 20
const PART_NAMES: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'headers',
}

export function compileValidator({ schema, httpPart }: { readonly schema: TSchema; readonly httpPart?: string }) {
  const compiled = Compile(schema)
  const part = PART_NAMES[httpPart ?? ''] ?? 'request'
  return (value: unknown): { value: unknown } | { error: Error } => {
    const given = httpPart === 'body' ? value : Value.Convert(schema, value)
    if (compiled.Check(given)) return { value: given }
    const errors = fieldErrors(part, compiled.Errors(given))
    const first = errors[0]
    return {
      error: new ProblemError('bad_request', first ? `${first.field}: ${first.why}` : 'it does not fit', errors),
    }
  }
}

interface SchemaError {
  readonly keyword: string
  readonly instancePath: string
  readonly message: string
  readonly params: unknown
}

export function fieldErrors(part: string, errors: readonly SchemaError[]): FieldError[] {
  const out: FieldError[] = []
  for (const { keyword, instancePath, message, params } of errors) {
    // "schema is false" comes with the additionalProperties error that names the same field.
    if (keyword === 'boolean') continue
    const at = [part, ...instancePath.split('/').slice(1)].join('.')
    if (keyword === 'additionalProperties')
      for (const name of namesIn(params, 'additionalProperties'))
        out.push({ field: `${at}.${name}`, why: 'is not known' })
    else if (keyword === 'required')
      for (const name of namesIn(params, 'requiredProperties')) out.push({ field: `${at}.${name}`, why: 'is missing' })
    else if (keyword === 'enum')
      out.push({ field: at, why: `must be one of ${namesIn(params, 'allowedValues').join(', ')}` })
    else out.push({ field: at, why: message })
    if (out.length >= MAX_ERRORS) break
  }
  return out.map(({ field, why }) => ({ field: field.slice(0, 200), why: why.slice(0, 300) }))
}

function namesIn(params: unknown, key: string): string[] {
  const list = typeof params === 'object' && params !== null ? (params as Record<string, unknown>)[key] : undefined
  return Array.isArray(list) ? list.map(String) : []
}
