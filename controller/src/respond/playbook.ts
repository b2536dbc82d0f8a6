/** The shape of a playbook as a person writes it. Its steps are `steps/`; the conditions are CEL over `facts.ts`. */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Condition } from './condition.ts'
import type { Step } from './steps/steps.ts'

export const PLAYBOOK_LIMITS = { bytes: 262_144, steps: 64, failureSteps: 16 } as const

/** Everything but the inside of the steps, which each step kind checks. */
export const PlaybookHead = Type.Object(
  {
    id: Type.String({ pattern: '^[a-z][a-z0-9-]{0,63}$', description: 'Stays the same when the title changes.' }),
    title: Type.String({ minLength: 1, maxLength: 128, description: 'One line, imperative.' }),
    version: Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Counts up with each change.' }),
    description: Type.String({ minLength: 1, maxLength: 4096, description: 'What it does and when it must not.' }),
    d3fend: Type.Optional(
      Type.Array(Type.String({ pattern: '^D3-[A-Z]{2,6}$' }), {
        maxItems: 16,
        description: 'MITRE D3FEND techniques.',
      }),
    ),
    trigger: Type.Object(
      {
        on: Type.Literal('incident', { description: 'An incident was opened or changed.' }),
        when: Type.String({ minLength: 1, maxLength: 2048, description: 'CEL, asked for each host of the incident.' }),
        for_each: Type.Literal('host', { description: 'One run a host of the incident.' }),
      },
      { additionalProperties: false, description: 'When it runs.' },
    ),
    steps: Type.Array(Type.Unknown(), {
      minItems: 1,
      maxItems: PLAYBOOK_LIMITS.steps,
      description: 'In order; the first that fails or refuses ends the run.',
    }),
    on_failure: Type.Optional(
      Type.Array(Type.Unknown(), {
        maxItems: PLAYBOOK_LIMITS.failureSteps,
        description: 'What is done then; these go on past a failure of their own.',
      }),
    ),
  },
  { additionalProperties: false, description: 'What is done about an incident.' },
)
export type PlaybookHead = Type.Static<typeof PlaybookHead>
export const playbookHeadSchema = Compile(PlaybookHead)

/** Checked, with its conditions compiled. */
export interface Playbook {
  readonly head: Omit<PlaybookHead, 'steps' | 'on_failure'>
  readonly steps: readonly Step[]
  readonly onFailure: readonly Step[]
  readonly conditions: ReadonlyMap<string, Condition>
  readonly file: string
  readonly text: string
  /** Of the text: a run goes by exactly the text it started with. */
  readonly sha256: string
}

export interface PlaybookProblem {
  readonly file: string
  readonly line: number
  readonly why: string
}
