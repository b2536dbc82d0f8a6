/** A controller that says when a batch came, when it was durable, and when a marked event was in detection. Clock: CLOCK_MONOTONIC, ns. */
import { testConfig } from '@firebreak/controller/src/controller.rig.ts'
import { createController } from '@firebreak/controller/src/controller.ts'
import { RuleSet } from '@firebreak/controller/src/detect/rule-set.ts'
import { createLogger } from '@firebreak/controller/src/log.ts'
import { WebSocket } from 'ws'
import { MARK } from './latency-mark.ts'

const [stateDir = '', rules = ''] = process.argv.slice(2)
const BATCH = 3
const KEPT = 256
const arrivals: bigint[] = []
const commits: bigint[] = []
const detected: { mark: string; arrived: string; committed: string; matched: string }[] = []
process.on('disconnect', () => process.exit(1))

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const emit = WebSocket.prototype.emit
WebSocket.prototype.emit = function (this: WebSocket, name: string | symbol, ...rest: unknown[]) {
  if (name === 'message' && Buffer.isBuffer(rest[0]) && rest[0][0] === BATCH) note(arrivals)
  return emit.call(this, name, ...rest)
}
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const match = RuleSet.prototype.match
RuleSet.prototype.match = function (this: RuleSet, ...args: Parameters<typeof match>) {
  const [{ event, process: doer }] = args
  const line = doer?.command_line
  const at = line?.indexOf(MARK) ?? -1
  if (line !== undefined && at >= 0 && event.type.includes('start')) {
    const matched = process.hrtime.bigint()
    const committed = commits.findLast((time) => time <= matched) ?? matched
    const arrived = arrivals.findLast((time) => time <= committed) ?? committed
    detected.push({
      mark: line.slice(at),
      arrived: String(arrived),
      committed: String(committed),
      matched: String(matched),
    })
  }
  return match.apply(this, args)
}

const controller = await createController(testConfig(stateDir, { 'detect.rule_dirs': [rules] }), {
  logger: createLogger(process.env['FIREBREAK_TEST_LOG'] ?? 'fatal'),
})
const started = await controller.start()
controller.bus.subscribe('batch.committed', () => note(commits))
const { joinString } = await controller.joinTokens.create({ group: 'g', lifeS: 600, maxUses: 10 }, 'user:bench')
process.on('message', (ask) => {
  if (ask === 'detected') process.send?.(detected.splice(0))
  else if (ask === 'stop') void controller.stop().then(() => process.exit(0))
})
process.send?.({ port: started.gatewayPort, joinString })

function note(times: bigint[]): void {
  times.push(process.hrtime.bigint())
  if (times.length > KEPT) times.shift()
}
