import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Rig, startRig } from '@firebreak/controller/src/controller.rig.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'

let rig: Rig
const at = () => ({ host: '127.0.0.1', port: rig.started.gatewayPort })
beforeAll(async () => {
  rig = await startRig()
})
afterAll(() => rig.stop())

describe('a host and its controller', () => {
  it('joins, sends events that can be searched, obeys a signed command and proves it', async () => {
    const { controller } = rig
    const { joinString } = await controller.joinTokens.create({ group: 'web', lifeS: 60, maxUses: 1 }, 'user:ann')
    const agent = new SimulatedAgent('web-1')
    await agent.enrol(at(), joinString)
    for (let n = 0; n < 500; n++) agent.produce('process', processEvent(n, 'web-1'))
    agent.lose('process', 7)
    await agent.connect(at())
    await expect.poll(() => agent.isDrained()).toBe(true)
    await agent.confirm()
    await expect.poll(() => controller.telemetry.count(agent.agentId), { timeout: 5_000 }).toBe(500)
    const found = await controller.telemetry.search({ fields: { 'process.name': 'curl' }, limit: 1_000 })
    expect(found).toHaveLength(50)
    expect(found[0]).toMatchObject({ host: { id: agent.agentId } })

    agent.onCommand = (command, sha256) => {
      agent.answer(command, sha256, 'accepted')
      agent.answer(command, sha256, 'verified', { evidence: { confirmed_ms: 1 } })
    }
    const proposed = await controller.orders.propose(
      {
        agentId: agent.agentId,
        type: 'isolate-host',
        args: { hold_s: 60, on_controller_loss: 'hold' },
        reason: 'test',
      },
      { kind: 'user', name: 'ann', role: 'responder' },
    )
    if (!proposed.ok) throw new Error(proposed.why)
    expect(await controller.orders.settled(proposed.value.id, AbortSignal.timeout(5_000))).toMatchObject({
      state: 'verified',
    })
    await expect.poll(() => agent.receiptsAcked()).toBe(2)
    expect(await controller.audit.verify()).toMatchObject({ ok: true })
    agent.disconnect()
  })
})
