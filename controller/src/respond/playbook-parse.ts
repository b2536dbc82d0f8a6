/** The text of a playbook into a checked one. All that is wrong with it is told at once, each with its line. */
import { createHash } from 'node:crypto'
import { ok, type Ok } from '@firebreak/shared/result.ts'
import { Unusable } from '@firebreak/shared/sigma/refusal.ts'
import { readYamlDocuments, type Tree } from '@firebreak/shared/sigma/yaml-tree.ts'
import { Compile } from 'typebox/compile'
import { type Condition, compileCondition } from './condition.ts'
import { type Playbook, PLAYBOOK_LIMITS, playbookHeadSchema, type PlaybookProblem } from './playbook.ts'
import { isStepType, kindOf, STEP_KINDS, STEP_TYPES, type Step } from './steps/steps.ts'

export type ParsedPlaybook =
  | Ok<Playbook>
  | { readonly ok: false; readonly code: 'playbook_invalid'; readonly problems: readonly PlaybookProblem[] }

const MAX_PROBLEMS = 50
const stepSchemas = Object.fromEntries(STEP_TYPES.map((type) => [type, Compile(STEP_KINDS[type].schema)]))

export function parsePlaybook(file: string, text: string): ParsedPlaybook {
  return new PlaybookParser(file, text).parse()
}

class PlaybookParser {
  readonly #file: string
  readonly #text: string
  readonly #problems: PlaybookProblem[] = []
  readonly #conditions = new Map<string, Condition>()

  constructor(file: string, text: string) {
    this.#file = file
    this.#text = text
  }

  parse(): ParsedPlaybook {
    const playbook = this.#read()
    if (this.#problems.length > 0 || playbook === undefined) {
      const problems = this.#problems.toSorted((a, b) => a.line - b.line).slice(0, MAX_PROBLEMS)
      return { ok: false, code: 'playbook_invalid', problems }
    }
    return ok(playbook)
  }

  #read(): Playbook | undefined {
    const tree = this.#readTree()
    if (tree === undefined) return undefined
    const value = valueOf(tree)
    if (!playbookHeadSchema.Check(value)) {
      this.#complainAll(playbookHeadSchema.Errors(value), tree)
      return undefined
    }
    const { steps: mainSteps, on_failure: failureSteps, ...head } = value
    const steps = this.#steps(mainSteps, at(tree, ['steps']))
    const onFailure = this.#steps(failureSteps ?? [], at(tree, ['on_failure']) ?? tree)
    this.#condition(head.trigger.when, at(tree, ['trigger', 'when'])?.line ?? tree.line)
    this.#uniqueIds([...steps, ...onFailure], tree)
    return {
      head,
      steps,
      onFailure,
      conditions: this.#conditions,
      file: this.#file,
      text: this.#text,
      sha256: createHash('sha256').update(this.#text).digest('hex'),
    }
  }

  #readTree(): Tree | undefined {
    if (Buffer.byteLength(this.#text) > PLAYBOOK_LIMITS.bytes) {
      this.#complain(1, `longer than ${PLAYBOOK_LIMITS.bytes} bytes`)
      return undefined
    }
    try {
      const documents = readYamlDocuments(this.#text)
      const [first, second] = documents
      if (first === undefined) this.#complain(1, 'the file is empty')
      else if (second !== undefined) this.#complain(second.line, 'one playbook a file')
      else if (first.tree === null) this.#complain(first.problem?.line ?? 1, first.problem?.message ?? 'not YAML')
      else return first.tree
    } catch (thrown) {
      if (!(thrown instanceof Unusable)) throw thrown
      this.#complain(thrown.line, thrown.message)
    }
    return undefined
  }

  #steps(values: readonly unknown[], tree: Tree | undefined): Step[] {
    return values.flatMap((value, index) => {
      const place = tree?.kind === 'list' ? tree.items[index] : tree
      return this.#step(value, place) ?? []
    })
  }

  #step(value: unknown, tree: Tree | undefined): Step | undefined {
    const line = tree?.line ?? 1
    const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
    if (!isStepType(type)) {
      const found = type === undefined ? 'a step without a type' : `there is no step type ${JSON.stringify(type)}`
      this.#complain(at(tree, ['type'])?.line ?? line, `${found}; there are ${STEP_TYPES.join(', ')}`)
      return undefined
    }
    const schema = stepSchemas[type]
    if (schema?.Check(value) !== true) {
      this.#complainAll(schema?.Errors(value) ?? [], tree)
      return undefined
    }
    const step = value as Step
    const kind = kindOf(step)
    for (const problem of kind.problems(step)) this.#complain(line, `${step.id}: ${problem}`)
    for (const text of [...(step.if === undefined ? [] : [step.if]), ...kind.conditions(step)]) {
      this.#condition(text, lineOfText(tree, text) ?? line)
    }
    return step
  }

  #condition(text: string, line: number): void {
    if (this.#conditions.has(text)) return
    const compiled = compileCondition(text)
    if (compiled.ok) this.#conditions.set(text, compiled.value)
    else this.#complain(line, `${text}: ${compiled.why}`)
  }

  #uniqueIds(steps: readonly Step[], tree: Tree): void {
    const seen = new Set<string>()
    for (const { id } of steps) {
      if (seen.has(id)) this.#complain(lastLineOfText(tree, id) ?? tree.line, `two steps have the id ${id}`)
      seen.add(id)
    }
  }

  #complainAll(errors: readonly SchemaError[], tree: Tree | undefined): void {
    for (const error of errors) {
      const path = error.instancePath.split('/').slice(1)
      const line = nearest(tree, path).line
      const where = path.join('.')
      this.#complain(line, `${where === '' ? '' : `${where}: `}${wordsOf(error)}`)
    }
  }

  #complain(line: number, why: string): void {
    this.#problems.push({ file: this.#file, line, why })
  }
}

interface SchemaError {
  readonly keyword: string
  readonly instancePath: string
  readonly message: string
  readonly params: object
}

function wordsOf({ keyword, message, params }: SchemaError): string {
  const named = params as {
    additionalProperties?: readonly string[]
    requiredProperties?: readonly string[]
    allowedValues?: readonly unknown[]
    allowedValue?: unknown
  }
  if (keyword === 'additionalProperties') return `unknown: ${named.additionalProperties?.join(', ') ?? message}`
  if (keyword === 'required') return `missing: ${named.requiredProperties?.join(', ') ?? message}`
  if (keyword === 'enum') return `must be one of ${named.allowedValues?.join(', ') ?? message}`
  if (keyword === 'const') return `must be ${JSON.stringify(named.allowedValue) ?? message}`
  return message
}

function valueOf(tree: Tree): unknown {
  switch (tree.kind) {
    case 'map':
      return Object.fromEntries([...tree.entries].map(([name, member]) => [name, valueOf(member)]))
    case 'list':
      return tree.items.map(valueOf)
    case 'scalar':
      return tree.value
    default:
      throw new Error(`unhandled tree ${JSON.stringify(tree satisfies never)}`)
  }
}

function at(tree: Tree | undefined, path: readonly string[]): Tree | undefined {
  return path.reduce<Tree | undefined>((found, name) => child(found, name), tree)
}

/** The place of a path, or of the nearest thing above it that is there. */
function nearest(tree: Tree | undefined, path: readonly string[]): { readonly line: number } {
  let found = tree
  for (const name of path) {
    const next = child(found, name)
    if (next === undefined) break
    found = next
  }
  return found ?? { line: 1 }
}

function child(tree: Tree | undefined, name: string): Tree | undefined {
  if (tree?.kind === 'map') return tree.entries.get(name)
  if (tree?.kind === 'list') return tree.items[Number(name)]
  return undefined
}

function lineOfText(tree: Tree | undefined, text: string): number | undefined {
  return linesOfText(tree, text)[0]
}

function lastLineOfText(tree: Tree | undefined, text: string): number | undefined {
  return linesOfText(tree, text).at(-1)
}

function linesOfText(tree: Tree | undefined, text: string): number[] {
  if (tree === undefined) return []
  if (tree.kind === 'scalar') return tree.value === text ? [tree.line] : []
  const members = tree.kind === 'map' ? [...tree.entries.values()] : tree.items
  return members.flatMap((member) => linesOfText(member, text))
}
