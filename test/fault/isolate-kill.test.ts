import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ISOLATE_STEPS, RELEASE_STEPS } from '../../agent/src/actions/isolation/isolation-parts.ts'
import type { HostCall } from '../../agent/src/actions/isolation/rig/host.child.ts'
import { ADDRESSES, whyNot } from '../../agent/src/actions/isolation/rig/namespaces.ts'
import { ISOLATE, Network } from '../../agent/src/actions/isolation/rig/network.ts'
import type { Remote } from '../../agent/src/actions/isolation/rig/remote.ts'

const missing = whyNot()
const tests = ISOLATE_STEPS.length + RELEASE_STEPS.length
if (missing !== undefined) console.warn(`skipped: ${tests} tests of agents killed while they isolate, ${missing}`)

/** From this step on an interrupted isolation must come back, and before it must be gone. */
const DECIDED = ISOLATE_STEPS.indexOf('isolate.state-isolated')
const FOREIGN = 'table inet other {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n'

describe.skipIf(missing !== undefined)('an agent killed with -9', () => {
  let network: Network
  const agents: Remote<HostCall>[] = []
  let intact = ''

  beforeAll(async () => {
    network = await new Network().start()
  }, 60_000)
  afterEach(async () => {
    await network.giveBack(agents.splice(0))
  })
  afterAll(async () => {
    expect(await network.destroy()).toBe(true)
  }, 60_000)

  const start = async (stateDir: string) => {
    const agent = await network.agent(stateDir)
    agents.push(agent)
    return agent
  }
  const rules = () => network.namespaces.ruleset('host')
  const begin = () => {
    network.namespaces.nft('host', `flush ruleset\n${FOREIGN}`)
    return network.newStateDir()
  }
  const killedAt = async (agent: Remote<HostCall>, call: HostCall) => {
    await expect(agent.call(call)).rejects.toThrow('SIGKILL')
    expect(await agent.ended).toBe('SIGKILL')
  }
  /** The whole table and the boot file, or neither. */
  const expectIsolated = async (stateDir: string, agent: Remote<HostCall>, is: boolean) => {
    expect(await agent.call({ call: 'containment' })).toMatchObject({ phase: is ? 'isolated' : 'none' })
    expect(existsSync(join(stateDir, 'isolation.nft'))).toBe(is)
    if (is && intact === '') intact = rules()
    expect(rules()).toBe(is ? intact : FOREIGN)
    const reached = await network.at('host', { call: 'udp', ip: ADDRESSES.stranger.v4, port: 443 })
    expect(reached).toBe(is ? 'EPERM' : 'echo')
  }

  it.each(ISOLATE_STEPS.map((step, at) => [step, at >= DECIDED] as const))(
    'after %s leaves a host that is isolated: %s, never half of it, also through a reboot',
    async (step, isolated) => {
      const stateDir = begin()
      const cmdId = network.newCommandId()
      const order = { cmdId, args: ISOLATE } as const
      await killedAt(await start(stateDir), { call: 'isolate', ...order, crashAt: step })
      const copy = network.copyOf(stateDir)

      const second = await start(stateDir)
      // As at every start: first the open order is reconciled, then what must be in force is resumed.
      const reconciled = await second.call({ call: 'reconcile', ...order })
      await second.call({ call: 'resume' })
      await expectIsolated(stateDir, second, isolated)
      expect(reconciled).toMatchObject(
        isolated ? { found: 'done', effect: { state: 'verified' } } : { found: 'not_done' },
      )
      await network.giveBack(agents.splice(0))

      network.reboot(copy)
      network.namespaces.nft('host', FOREIGN)
      const third = await start(copy)
      await third.call({ call: 'resume' })
      if (isolated) expect(rules()).toContain('table inet firebreak')
      else await expectIsolated(copy, third, false)
      await third.call({ call: 'release', cmdId: network.newCommandId() })
      expect(rules()).toBe(FOREIGN)
    },
  )

  it.each(RELEASE_STEPS)('after %s leaves a host that is free and has its rules back', async (step) => {
    const stateDir = begin()
    const first = await start(stateDir)
    await first.call({ call: 'isolate', cmdId: network.newCommandId(), args: ISOLATE })
    const cmdId = network.newCommandId()
    await killedAt(first, { call: 'release', cmdId, crashAt: step })
    const second = await start(stateDir)
    const reconciled = await second.call({ call: 'reconcile-release', cmdId })
    await second.call({ call: 'resume' })
    await expectIsolated(stateDir, second, false)
    expect(reconciled).toMatchObject({
      found: 'done',
      effect: { state: 'verified', evidence: { ruleset_restored: true } },
    })
  })
})
