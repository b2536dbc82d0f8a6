/** The single values that a pattern comes down to, so that a stream can be matched against millions of them; or why it does not. */
import { type Observable, observableOf, type ObservableType } from '../indicators/observable.ts'
import { type Result, ok, refuse } from '../result.ts'
import {
  ANY,
  type Comparison,
  type ComparisonExpression,
  type ObservationExpression,
  type PathStep,
} from './pattern.ts'

export type InexpressibleReason =
  | 'several_observations'
  | 'several_properties'
  | 'unsupported_object'
  | 'unsupported_operator'
  | 'no_value'

export function valuesOfPattern(pattern: ObservationExpression): Result<readonly Observable[], InexpressibleReason> {
  switch (pattern.kind) {
    case 'observation':
      return ofComparison(pattern.of)
    case 'or':
      return every(pattern.parts.map(valuesOfPattern))
    case 'qualified':
      // Of one observation WITHIN says nothing; times and repetitions do.
      if (pattern.by.kind === 'within' && pattern.of.kind === 'observation') return valuesOfPattern(pattern.of)
      if (pattern.by.kind === 'repeats' && pattern.by.times === 1) return valuesOfPattern(pattern.of)
      return refuse(
        'several_observations',
        `it needs ${pattern.by.kind === 'repeats' ? 'repetitions' : 'a span of time'}`,
      )
    case 'and':
    case 'followedby':
      return refuse('several_observations', 'it needs several observations together')
    default:
      throw new Error(`unhandled expression ${String(pattern satisfies never)}`)
  }
}

function every(
  parts: readonly Result<readonly Observable[], InexpressibleReason>[],
): Result<readonly Observable[], InexpressibleReason> {
  const values: Observable[] = []
  for (const part of parts) {
    // A half of an OR would say less than its author meant, and nobody would see it.
    if (!part.ok) return part
    values.push(...part.value)
  }
  return ok(values)
}

function ofComparison(expression: ComparisonExpression): Result<readonly Observable[], InexpressibleReason> {
  switch (expression.kind) {
    case 'comparison':
      return ofOne(expression)
    case 'or':
      return every(expression.parts.map(ofComparison))
    case 'and': {
      // Digests of one file: the strongest alone says which.
      const parts = expression.parts.map(ofComparison)
      const values = parts.flatMap((part) => (part.ok ? part.value : []))
      const strongest = (['sha256', 'sha1', 'md5'] as const).find((type) => values.some((one) => one.type === type))
      const isOneFile =
        expression.parts.every((part) => part.kind === 'comparison' && part.values.length === 1) &&
        parts.every((part) => part.ok && part.value.every(({ type }) => /^(md5|sha)/.test(type)))
      const value = values.find(({ type }) => type === strongest)
      if (isOneFile && value) return ok([value])
      return refuse('several_properties', 'it needs several properties of one object together')
    }
    case 'exists':
      return refuse('unsupported_operator', 'EXISTS names no value')
    default:
      throw new Error(`unhandled comparison ${String(expression satisfies never)}`)
  }
}

function ofOne({
  objectType,
  path,
  operator,
  negated,
  values,
}: Comparison): Result<readonly Observable[], InexpressibleReason> {
  const where = `${objectType}:${path.map(stepText).join('.')}`
  if (negated) return refuse('unsupported_operator', 'NOT names no value')
  const type = typeAt(objectType, path)
  if (type === undefined) return refuse('unsupported_object', `${where} is nothing that events are matched by`)
  const isBlock = operator === 'ISSUBSET' && type === 'address'
  if (operator !== '=' && operator !== 'IN' && !isBlock)
    return refuse('unsupported_operator', `${where} ${operator} is no single value`)
  const found: Observable[] = []
  for (const literal of values) {
    if (literal.kind !== 'string') return refuse('no_value', `${where} is compared with a ${literal.kind}`)
    const value = type === 'address' ? observableOf(literal.value) : observableOf(literal.value, type)
    if (!value.ok) return refuse('no_value', value.why)
    found.push(value.value)
  }
  return ok(found)
}

const HASHES: Readonly<Record<string, ObservableType>> = { md5: 'md5', sha1: 'sha1', sha256: 'sha256' }

/** `address`: its form tells which. */
function typeAt(objectType: string, path: readonly PathStep[]): ObservableType | 'address' | undefined {
  const last = path.at(-1)
  const whole = path.map(stepText).join('.')
  if (whole === 'value' || whole === 'dst_ref.value' || whole === 'src_ref.value') {
    switch (objectType) {
      case 'ipv4-addr':
      case 'ipv6-addr':
        return 'address'
      case 'domain-name':
        return 'domain'
      case 'url':
        return 'url'
      case 'email-addr':
        return 'email'
      case 'network-traffic':
        return whole === 'value' ? undefined : 'address'
      default:
        return undefined
    }
  }
  if (objectType === 'email-message' && (whole === 'from_ref.value' || whole === 'sender_ref.value')) return 'email'
  if (path.at(-2) === 'hashes' && typeof last === 'string' && ['file', 'artifact', 'process'].includes(objectType))
    return HASHES[last.toLowerCase().replaceAll(/[-_]/g, '')]
  if (objectType === 'network-traffic' && typeof last === 'string' && /(^|[_-])ja3$/i.test(last)) return 'ja3'
  return undefined
}

function stepText(step: PathStep): string {
  return step === ANY ? '*' : String(step)
}
