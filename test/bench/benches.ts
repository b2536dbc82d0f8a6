import { agentBench } from './agent.ts'
import type { Bench } from './bench.ts'
import { containmentBench } from './containment.ts'
import { ingestBench } from './ingest.ts'
import { sigma as sigmaBench } from './sigma.ts'

export const benches: readonly Bench[] = [agentBench, containmentBench, ingestBench, sigmaBench]
