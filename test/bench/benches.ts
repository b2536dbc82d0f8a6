import { agentBench } from './agent.ts'
import type { Bench } from './bench.ts'
import { containmentBench } from './containment.ts'
import { ingestBench } from './ingest.ts'
import { ingestKillBench } from './ingest-kill.ts'
import { sigma as sigmaBench } from './sigma.ts'

export const benches: readonly Bench[] = [agentBench, containmentBench, ingestBench, ingestKillBench, sigmaBench]
