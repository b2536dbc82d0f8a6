import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CLOSE } from '@firebreak/shared/wire/limits.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { type Rig, startRig } from '@firebreak/controller/src/controller.rig.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'

let rig: Rig | undefined
afterEach(() => rig?.stop())

const at = (of: Rig) => ({ host: '127.0.0.1', port: of.started.gatewayPort })

describe('a host and its controller', () => {
  it('joins, sends events that can be searched, obeys a signed command and proves it', async () => {
    rig = await startRig()
    const here = at(rig)
    const { controller } = rig
    const { joinString } = await controller.joinTokens.create({ group: 'web', lifeS: 60, maxUses: 1 }, 'user:ann')
    const agent = new SimulatedAgent('web-1')
    await agent.enrol(here, joinString)
    for (let n = 0; n < 500; n++) agent.produce('process', processEvent(n, 'web-1'))
    agent.lose('process', 7)
    await agent.connect(here)
    await expect.poll(() => agent.isDrained()).toBe(true)
    await agent.confirm()
    await expect.poll(() => controller.telemetry.count(agent.agentId), { timeout: 5_000 }).toBe(500)
    const found = await controller.telemetry.search({ fields: { 'process.name': 'curl' }, limit: 1_000 })
    expect(found).toHaveLength(50)
    expect(found[0]).toMatchObject({ host: { id: agent.agentId } })

    agent.onCommand = (command, sha256) => {
      agent.answer(command, sha256, 'accepted')
      const probe = { name: 'tcp-new', target: '10.0.0.8:80', expected: 'blocked', found: 'blocked' }
      agent.answer(command, sha256, 'verified', { evidence: { probes: [probe] } })
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

  it('follows the trust file when the addresses of the controller change, and is cut off when it is revoked', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'fb-trust-'))
    try {
      const own = await startRig({ 'gateway.public': ['a:1'] }, stateDir)
      const agent = new SimulatedAgent('web-2')
      const { joinString } = await own.controller.joinTokens.create({ group: 'g', lifeS: 60, maxUses: 1 }, 'user:ann')
      await agent.enrol(at(own), joinString)
      await own.stop()
      rig = await startRig({ 'gateway.public': ['a:1', 'b:2'] }, stateDir)
      await agent.connect(at(rig))
      expect(agent.trust?.file).toMatchObject({ version: 2, controllers: ['a:1', 'b:2'] })
      const { fleet } = rig.controller
      await expect.poll(async () => (await fleet.get(agent.agentId))?.connected).toBe(true)
      expect(await fleet.revoke(agent.agentId, 'user:ann', 'stolen')).toMatchObject({ ok: true })
      await agent.closed()
      expect(agent.closeCode).toBe(CLOSE.refused)
      await expect(agent.connect(at(rig))).rejects.toMatchObject({
        code: 'revoked_agent',
      })
      await expect.poll(async () => (await fleet.get(agent.agentId))?.connected).toBe(false)
      await expect(startRig({}, stateDir)).rejects.toMatchObject({ code: 'already_running' })
    } finally {
      await rig?.stop()
      rig = undefined
      rmSync(stateDir, { recursive: true, force: true })
    }
  })
})
