/**
 * Conditions are CEL (cel.dev), compiled and type-checked when the playbook is read: an unknown name, a wrong type or an endless walk
 * is refused there. Nothing of the host language can be reached from one.
 */
import { type ASTNode, Environment, type ObjectSchema } from '@marcbachmann/cel-js'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import { FACTS, type Facts } from './facts.ts'

export type ConditionRefusal = 'condition_invalid'
export interface Condition {
  readonly text: string
  evaluate(facts: Facts): Result<boolean, 'condition_failed'>
}

export const CONDITION_LIMITS = { characters: 2_048, nodes: 400, depth: 32, walks: 2 } as const
/** They walk a list once each; one within another multiplies. */
const WALKS = new Set(['all', 'exists', 'exists_one', 'map', 'filter'])

const environment = makeEnvironment()

export function compileCondition(text: string): Result<Condition, ConditionRefusal> {
  if (text.length > CONDITION_LIMITS.characters) {
    return refuse('condition_invalid', `longer than ${CONDITION_LIMITS.characters} characters`)
  }
  try {
    const checked = environment.check(text)
    if (!checked.valid)
      return refuse('condition_invalid', firstLine(checked.error?.message ?? 'it does not hold together'))
    if (checked.type !== 'bool') return refuse('condition_invalid', `it gives ${checked.type}, not a yes or no`)
    const parsed = environment.parse(text)
    const problem = problemIn(parsed.ast, 0)
    if (problem !== undefined) return refuse('condition_invalid', problem)
    return ok({
      text,
      evaluate(facts) {
        try {
          const value: unknown = parsed(bound(facts))
          if (typeof value === 'boolean') return ok(value)
          return refuse('condition_failed', `${text}: it gave ${typeof value}, not a yes or no`)
        } catch (thrown) {
          return refuse('condition_failed', `${text}: ${firstLine(reasonOf(thrown))}`)
        }
      },
    })
  } catch (thrown) {
    return refuse('condition_invalid', firstLine(reasonOf(thrown)))
  }
}

function makeEnvironment(): Environment {
  const made = new Environment({
    unlistedVariablesAreDyn: false,
    limits: {
      maxAstNodes: CONDITION_LIMITS.nodes,
      maxDepth: CONDITION_LIMITS.depth,
      maxListElements: 128,
      maxMapEntries: 16,
      maxCallArguments: 8,
    },
  })
  for (const [subject, table] of Object.entries(FACTS)) {
    const schema: ObjectSchema = Object.fromEntries(Object.entries(table).map(([name, [type]]) => [name, type]))
    made.registerVariable({ name: subject, schema })
  }
  return made
}

/** CEL's whole numbers are 64 bit; JavaScript's are not. */
function bound(facts: Facts): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(FACTS).map(([subject, table]) => {
      const values: Readonly<Record<string, unknown>> = facts[subject as keyof Facts]
      return [
        subject,
        Object.fromEntries(
          Object.entries(table).map(([name, [type]]) => [
            name,
            type === 'int' ? BigInt(Math.trunc(Number(values[name]))) : values[name],
          ]),
        ),
      ]
    }),
  )
}

/** What the type checker lets through and we do not. */
function problemIn(node: ASTNode, walks: number): string | undefined {
  let depth = walks
  if (node.op === 'rcall') {
    const [name] = node.args
    // It runs on the language's own backtracking expressions: a pattern could hold up the controller.
    if (name === 'matches') return 'matches() is not offered; use contains, startsWith, endsWith or in'
    if (WALKS.has(name)) depth++
    if (depth > CONDITION_LIMITS.walks) return `more than ${CONDITION_LIMITS.walks} walks over lists within one another`
  }
  if (node.op === '.' || node.op === '.?') {
    const [subject, name] = node.args
    const known = subject.op === 'id' ? subject.args : ''
    const table = (FACTS as Readonly<Record<string, object>>)[known]
    if (table !== undefined && !Object.hasOwn(table, name)) {
      return `${known} has no ${name}; it has ${Object.keys(table).join(', ')}`
    }
  }
  for (const child of childrenOf(node)) {
    const problem = problemIn(child, depth)
    if (problem !== undefined) return problem
  }
  return undefined
}

function childrenOf(node: ASTNode): ASTNode[] {
  const found: ASTNode[] = []
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) for (const member of value) collect(member)
    else if (typeof value === 'object' && value !== null && 'op' in value && 'args' in value)
      found.push(value as ASTNode)
  }
  collect(node.args)
  return found
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}
