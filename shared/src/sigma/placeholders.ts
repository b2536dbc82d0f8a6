/** Gives `%name%` of the expand modifier its values. A rule whose placeholder nobody defined is refused, as the specification asks. */
import { isNetwork } from './modifiers.ts'
import { Unusable } from './refusal.ts'
import type { Detection, Test, Token } from './rule.ts'
import { isPlaceholder, joinTokens, parseSigmaText, plainText } from './sigma-text.ts'

/** Name → values. Values of text tests may hold wildcards. */
export type Placeholders = ReadonlyMap<string, readonly string[]>

const MAX_VALUES = 10_000

export function expandDetection(detection: Detection, placeholders: Placeholders): Detection {
  if (detection.kind !== 'item') {
    return { kind: detection.kind, of: detection.of.map((part) => expandDetection(part, placeholders)) }
  }
  return { ...detection, tests: detection.tests.map((test) => expandTest(test, placeholders, detection.line)) }
}

function expandTest(test: Test, placeholders: Placeholders, line: number): Test {
  if (test.kind === 'one-of')
    return { kind: 'one-of', tests: test.tests.map((inner) => expandTest(inner, placeholders, line)) }
  if (test.kind !== 'text' && test.kind !== 'regex' && test.kind !== 'cidr') return test
  if (!test.tokens.some(isPlaceholder)) return test
  const variants = combine(test.tokens, placeholders, test.kind === 'text', line)
  const tests = variants.map((tokens): Test => ({ ...test, tokens: joinTokens(tokens) }))
  for (const made of tests) {
    const network = made.kind === 'cidr' ? plainText(made.tokens) : null
    if (network !== null && !isNetwork(network)) {
      throw new Unusable('value_invalid', `${JSON.stringify(network)} is not a network`, line)
    }
  }
  return tests.length === 1 ? (tests[0] as Test) : { kind: 'one-of', tests }
}

function combine(tokens: readonly Token[], placeholders: Placeholders, sigmaText: boolean, line: number): Token[][] {
  let variants: Token[][] = [[]]
  for (const token of tokens) {
    const choices = isPlaceholder(token) ? valuesOf(token.placeholder, placeholders, sigmaText, line) : [[token]]
    if (variants.length * choices.length > MAX_VALUES) {
      throw new Unusable('too_many_variants', `placeholders give more than ${MAX_VALUES} values`, line)
    }
    variants = variants.flatMap((variant) => choices.map((choice) => [...variant, ...choice]))
  }
  return variants
}

function valuesOf(name: string, placeholders: Placeholders, sigmaText: boolean, line: number): Token[][] {
  const values = placeholders.get(name)
  if (values === undefined || values.length === 0) {
    throw new Unusable('placeholder_unresolved', `no values are defined for %${name}%`, line)
  }
  return values.map((value) => (sigmaText ? parseSigmaText(value) : [value]))
}
