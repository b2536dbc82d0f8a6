/** An agent in a process of its own that has 100,000 events a second to say. Arguments: port, join string, whether it knows credit. */
import { setPriority } from 'node:os'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'

const [port, joinString = '', greedy] = process.argv.slice(2)
const PER_MS = 100
// What it costs to flood is not to be measured.
setPriority(19)
const at = { host: '127.0.0.1', port: Number(port) }
const agent = new SimulatedAgent('flooder')
agent.greedy = greedy === 'greedy'
agent.batchEvents = 1_000
await agent.enrol(at, joinString)
await agent.connect(at)
const line = Buffer.from(JSON.stringify(processEvent(1, 'flooder')))
let produced = 0
let began = 0
let flood: NodeJS.Timeout | undefined

function produceDue(): number {
  const ms = performance.now() - began
  for (; produced < ms * PER_MS; produced++) agent.produceRaw('process', line)
  agent.flush()
  return ms
}

process.on('disconnect', () => process.exit(0))
process.on('message', (message) => {
  if (message === 'flood') {
    began = performance.now()
    flood = setInterval(produceDue, 10)
  } else {
    clearInterval(flood)
    // What the machine let it be late with is due all the same: one event takes half a microsecond to make.
    const ms = produceDue()
    process.send?.({
      produced,
      acked: agent.acks.at(-1)?.seq ?? 0,
      seconds: ms / 1_000,
      connected: agent.isConnected(),
    })
  }
})
process.send?.('ready')
