/** A controller that says when a batch came, when it was durable, and when a marked event was in detection. Clock: CLOCK_MONOTONIC, ns. */
import { testConfig } from '@firebreak/controller/src/controller.rig.ts'
import { createController } from '@firebreak/controller/src/controller.ts'
import { AgentSession } from '@firebreak/controller/src/gateway/agent-session.ts'
import { RuleSet } from '@firebreak/controller/src/detect/rule-set.ts'
import { createLogger } from '@firebreak/controller/src/log.ts'
import { WebSocket } from 'ws'
import { lastProcessOf, MARK } from './latency-mark.ts'

const [stateDir = '', rules = ''] = process.argv.slice(2)
/** Until this number of the process events of the agent, at this time. */
type Reached = [seq: number, at: string]
const arrivals: Reached[] = []
const acks: Reached[] = []
const matches: { mark: string; matched: string }[] = []
process.on('disconnect', () => process.exit(1))

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const emit = WebSocket.prototype.emit
WebSocket.prototype.emit = function (this: WebSocket, name: string | symbol, ...rest: unknown[]) {
  const last = name === 'message' ? lastProcessOf(rest[0]) : undefined
  if (last !== undefined) arrivals.push([last, now()])
  return emit.call(this, name, ...rest)
}
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const send = AgentSession.prototype.send
AgentSession.prototype.send = function (this: AgentSession, message) {
  if (message.t === 'ack' && message.class === 'process') acks.push([message.seq, now()])
  send.call(this, message)
}
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const match = RuleSet.prototype.match
RuleSet.prototype.match = function (this: RuleSet, ...args: Parameters<typeof match>) {
  const [{ event, process: doer }] = args
  const line = doer?.command_line
  const at = line?.indexOf(MARK) ?? -1
  if (line !== undefined && at >= 0 && event.type.includes('start'))
    matches.push({ mark: line.slice(at), matched: now() })
  return match.apply(this, args)
}

const controller = await createController(testConfig(stateDir, { 'detect.rule_dirs': [rules] }), {
  logger: createLogger(process.env['FIREBREAK_TEST_LOG'] ?? 'fatal'),
})
const started = await controller.start()
const { joinString } = await controller.joinTokens.create({ group: 'g', lifeS: 600, maxUses: 10 }, 'user:bench')
process.on('message', (ask) => {
  if (ask === 'detected')
    process.send?.({ matches: matches.splice(0), arrivals: arrivals.splice(0), acks: acks.splice(0) })
  else if (ask === 'stop') void controller.stop().then(() => process.exit(0))
})
process.send?.({ port: started.gatewayPort, joinString })

function now(): string {
  return String(process.hrtime.bigint())
}
