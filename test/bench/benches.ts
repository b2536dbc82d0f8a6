import { agentBench } from './agent.ts'
import type { Bench } from './bench.ts'
import { conformanceBench } from './conformance.ts'
import { containmentBench } from './containment.ts'
import { correlationBench } from './correlation.ts'
import { detectionBench } from './detection.ts'
import { importBench } from './import.ts'
import { indicatorsBench } from './indicators.ts'
import { ingestBench } from './ingest.ts'
import { ingestKillBench } from './ingest-kill.ts'
import { latencyBench } from './latency.ts'
import { searchBench } from './search.ts'
import { sensorBench } from './sensor.ts'
import { sensorBurstBench } from './sensor-burst.ts'
import { sigma as sigmaBench } from './sigma.ts'

export const benches: readonly Bench[] = [
  agentBench,
  conformanceBench,
  containmentBench,
  detectionBench,
  correlationBench,
  importBench,
  indicatorsBench,
  ingestBench,
  latencyBench,
  ingestKillBench,
  searchBench,
  sensorBench,
  sensorBurstBench,
  sigmaBench,
]
