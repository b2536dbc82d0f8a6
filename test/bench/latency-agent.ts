/** The agent, which says when the kernel made a marked record, when it read it, and when the event was in the spool. Clock: CLOCK_MONOTONIC, ns. */
import { startAgent } from '@firebreak/agent/src/agent.ts'
import { ProcessRecords } from '@firebreak/agent/src/collectors/kernel/process-records.ts'
import { loadConfig } from '@firebreak/agent/src/config.ts'
import { systemClock } from '@firebreak/shared/clock.ts'
import { silentLog } from '@firebreak/agent/src/log.ts'
import { WebSocket } from 'ws'
import { MARK } from './latency-mark.ts'

const [path = ''] = process.argv.slice(2)
const BATCH = 3
const seen: { mark: string; executed: bigint; read: bigint; emitted: bigint; sent: bigint | undefined }[] = []
process.on('disconnect', () => process.exit(1))

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const exec = ProcessRecords.prototype.exec
ProcessRecords.prototype.exec = function (this: ProcessRecords, record) {
  const read = process.hrtime.bigint()
  exec.call(this, record)
  const line = Buffer.from(record.arguments.bytes).toString('latin1').replaceAll('\0', ' ').trim()
  const at = line.indexOf(MARK)
  if (at < 0) return
  seen.push({
    mark: line.slice(at),
    executed: record.monotonicNs,
    read,
    emitted: process.hrtime.bigint(),
    sent: undefined,
  })
}
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const send = WebSocket.prototype.send as (this: WebSocket, ...args: unknown[]) => void
WebSocket.prototype.send = function (this: WebSocket, ...args: unknown[]) {
  if (args[0] instanceof Uint8Array && args[0][0] === BATCH) {
    const now = process.hrtime.bigint()
    for (let at = seen.length - 1; at >= 0 && seen[at]?.sent === undefined; at--)
      (seen[at] as { sent: bigint }).sent = now
  }
  send.apply(this, args)
} as typeof WebSocket.prototype.send

const config = loadConfig({ path, env: {}, required: true })
if (!config.ok) throw new Error(config.why)
const agent = await startAgent(config.value.config, { clock: systemClock, log: silentLog })
if (!agent.ok) throw new Error(agent.why)
process.on('message', (ask) => {
  if (ask === 'seen')
    process.send?.(
      seen.splice(0).map(({ mark, executed, read, emitted, sent }) => ({
        mark,
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
