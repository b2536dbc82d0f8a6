/** The agent, which says when the kernel made a marked record, when it read it, and when the event was in the spool. Clock: CLOCK_MONOTONIC, ns. */
import { type Agent, startAgent } from '@firebreak/agent/src/agent.ts'
import { ProcessRecords } from '@firebreak/agent/src/collectors/kernel/process-records.ts'
import { loadConfig } from '@firebreak/agent/src/config.ts'
import { systemClock } from '@firebreak/shared/clock.ts'
import { silentLog } from '@firebreak/agent/src/log.ts'
import { WebSocket } from 'ws'
import { lastProcessOf, MARK } from './latency-mark.ts'

const [path = ''] = process.argv.slice(2)
interface Seen {
  readonly mark: string
  readonly executed: bigint
  readonly read: bigint
  readonly emitted: bigint
  /** Number of its event in the stream of its class. */
  readonly seq: number
  sent?: bigint
}
const seen: Seen[] = []
process.on('disconnect', () => process.exit(1))

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const exec = ProcessRecords.prototype.exec
ProcessRecords.prototype.exec = function (this: ProcessRecords, record) {
  const read = process.hrtime.bigint()
  exec.call(this, record)
  const line = Buffer.from(record.arguments.bytes).toString('latin1').replaceAll('\0', ' ').trim()
  const at = line.indexOf(MARK)
  if (at < 0) return
  const emitted = process.hrtime.bigint()
  const seq = running?.status().streams.find((stream) => stream.class === 'process')?.produced ?? 0
  seen.push({ mark: line.slice(at), executed: record.monotonicNs, read, emitted, seq })
}
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const send = WebSocket.prototype.send as (this: WebSocket, ...args: unknown[]) => void
WebSocket.prototype.send = function (this: WebSocket, ...args: unknown[]) {
  const last = lastProcessOf(args[0])
  if (last !== undefined) {
    const now = process.hrtime.bigint()
    for (const one of seen.filter(({ sent, seq }) => sent === undefined && seq <= last)) one.sent = now
  }
  send.apply(this, args)
} as typeof WebSocket.prototype.send

let running: Agent | undefined
const config = loadConfig({ path, env: {}, required: true })
if (!config.ok) throw new Error(config.why)
const agent = await startAgent(config.value.config, { clock: systemClock, log: silentLog })
if (!agent.ok) throw new Error(agent.why)
running = agent.value
process.on('message', (ask) => {
  if (ask === 'seen')
    process.send?.(
      seen.splice(0).map(({ mark, executed, read, emitted, seq, sent }) => ({
        mark,
        seq,
        executed: String(executed),
        read: String(read),
        emitted: String(emitted),
        sent: sent === undefined ? undefined : String(sent),
      })),
    )
  else if (ask === 'status') process.send?.(agent.value.status())
  else if (ask === 'stop') void agent.value.stop().then(() => process.exit(0))
})
process.send?.('started')
