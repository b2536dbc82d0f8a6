import { Type } from 'typebox'
import type { CommandCard } from './command-type.ts'

export const KillProcess = Type.Object(
  {
    pid: Type.Integer({ minimum: 2, maximum: 2 ** 31 - 1, description: 'Process id on the host.' }),
    entity_id: Type.Optional(
      Type.String({
        maxLength: 128,
        description: 'Identity of the process; a pid that was given to another process is refused.',
      }),
    ),
    tree: Type.Boolean({ description: 'Its descendants too.' }),
  },
  { additionalProperties: false, description: 'End a process at once.' },
)
export type KillProcess = Type.Static<typeof KillProcess>

export const KillEvidence = Type.Object(
  {
    killed: Type.Array(
      Type.Object(
        { pid: Type.Integer(), entity_id: Type.String(), executable: Type.Optional(Type.String({ maxLength: 4096 })) },
        { additionalProperties: false },
      ),
      { maxItems: 4096, description: 'Who was killed.' },
    ),
    surviving: Type.Array(Type.Integer(), { maxItems: 4096, description: 'Pids that are still there.' }),
    respawned: Type.Array(Type.Integer(), {
      maxItems: 64,
      description: 'Processes of the same executable that appeared while it was watched.',
    }),
  },
  { additionalProperties: false, description: 'What proves that a process ended.' },
)
export type KillEvidence = Type.Static<typeof KillEvidence>

export const killProcessCard = {
  type: 'kill-process',
  summary: 'End a process, and its descendants when asked.',
  args: KillProcess,
  evidence: KillEvidence,
  risk: 'high',
  undoneBy: undefined,
  d3fend: 'D3-PT',
  deadline_s: 30,
} as const satisfies CommandCard
