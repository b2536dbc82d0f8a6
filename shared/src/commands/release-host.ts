import { Type } from 'typebox'
import type { CommandCard } from './command-type.ts'
import { IsolationEvidence } from './isolate-host.ts'

export const ReleaseHost = Type.Object(
  {},
  { additionalProperties: false, description: 'End the isolation of a host and restore its firewall exactly.' },
)
export type ReleaseHost = Type.Static<typeof ReleaseHost>

export const releaseHostCard = {
  type: 'release-host',
  summary: 'End the isolation of a host and restore its firewall exactly.',
  args: ReleaseHost,
  evidence: IsolationEvidence,
  risk: 'medium',
  undoneBy: undefined,
  d3fend: 'D3-RNA',
  deadline_s: 60,
} as const satisfies CommandCard
