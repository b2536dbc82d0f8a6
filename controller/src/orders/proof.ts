/** `verified` is shown only with evidence that has the form of its command, shows the effect, and speaks nowhere against it. */
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import { IsolationEvidence, type Probe } from '@firebreak/shared/commands/isolate-host.ts'
import { KillEvidence } from '@firebreak/shared/commands/kill-process.ts'
import { Fault } from '@firebreak/shared/result.ts'
import { Compile } from 'typebox/compile'

const isolation = Compile(IsolationEvidence)
const kill = Compile(KillEvidence)

/** Each: why the evidence does not show the effect, or `undefined`. A new command type says here what proves it. */
const PROOFS = {
  'isolate-host': proofBy(isolation, (evidence) => objectionOf(evidence, 'blocked')),
  'release-host': proofBy(isolation, (evidence) => objectionOf(evidence, 'open')),
  'kill-process': proofBy(kill, ({ surviving }) =>
    surviving.length === 0 ? undefined : `${surviving.length} processes are still there`,
  ),
} satisfies Record<CommandType, (evidence: unknown) => string | undefined>

export function objectionToProof(type: CommandType, evidence: unknown): string | undefined {
  const proof: ((evidence: unknown) => string | undefined) | undefined = PROOFS[type]
  if (proof === undefined) throw new Fault('bad_column', `there is no command type ${type}`)
  const objection = proof(evidence)
  return objection === undefined ? undefined : `the host says verified, and ${objection}`
}

function proofBy<T>(
  schema: { Check(value: unknown): value is T },
  objection: (evidence: T) => string | undefined,
): (evidence: unknown) => string | undefined {
  return (evidence) =>
    schema.Check(evidence) ? objection(evidence) : 'its evidence does not have the form of this command'
}

function objectionOf({ probes = [] }: IsolationEvidence, promised: Probe['expected']): string | undefined {
  const against = probes.find((probe) => probe.found !== 'unverifiable' && probe.found !== probe.expected)
  if (against) return `its probe ${against.name} found ${against.target} ${against.found}`
  return probes.some((probe) => probe.expected === promised && probe.found === promised)
    ? undefined
    : `no probe of its saw anything ${promised}`
}
