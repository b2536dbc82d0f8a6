import type { TObject } from 'typebox'

/** How much a wrong one costs: `low` disturbs nobody, `high` can take a service or a host from its users. */
export const RISKS = ['low', 'medium', 'high'] as const
export type Risk = (typeof RISKS)[number]

/**
 * One command type is one file of this folder: what it is called, what it takes, what it costs, what undoes it and what proves it.
 * The agent's action, the API, the CLI and the documentation are all made from this card.
 */
export interface CommandCard<Args extends TObject = TObject, Evidence extends TObject = TObject> {
  readonly type: string
  /** One sentence, imperative. */
  readonly summary: string
  readonly args: Args
  readonly evidence: Evidence
  readonly risk: Risk
  /** The command type that takes it back; `undefined` when nothing can. */
  readonly undoneBy: string | undefined
  /** MITRE D3FEND technique it implements, such as D3-NI (network isolation). */
  readonly d3fend: string | undefined
  /** Default time in which the agent must have answered with a final receipt, s. */
  readonly deadline_s: number
}
