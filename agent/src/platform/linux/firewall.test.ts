import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ADDRESSES, whyNot } from '../../actions/isolation/rig/namespaces.ts'
import { Network } from '../../actions/isolation/rig/network.ts'
import { isolationRuleset, withoutOurTable } from '../../actions/isolation/ruleset.ts'
import type { Firewall } from '../platform.ts'
import { createFirewall } from './firewall.ts'
import { findProgram } from './program.ts'

const missing = whyNot()
if (missing !== undefined) console.warn(`skipped: 7 tests of nftables, ${missing}`)

const RULES = isolationRuleset({
  controllers: [{ family: 4, ip: ADDRESSES.controller.v4, port: 7443 }],
  dhcpServers: [],
  agentUid: 0,
})
const FOREIGN = 'table inet other {\n\tchain c {\n\t}\n}\n'

describe.skipIf(missing !== undefined)('the packet filter', () => {
  let network: Network
  let firewall: Firewall
  beforeAll(async () => {
    network = await new Network().start()
    const runner = [findProgram('ip') ?? '', 'netns', 'exec', network.namespaces.name('host')]
    firewall = createFirewall({ runner })
  }, 60_000)
  afterEach(() => network.namespaces.nft('host', 'flush ruleset\n'))
  afterAll(async () => {
    expect(await network.destroy()).toBe(true)
  }, 60_000)

  it('takes the same rules twice as once, and lists them without counters', async () => {
    expect(await firewall.apply(RULES)).toEqual({ ok: true })
    const once = await firewall.table()
    await network.at('host', { call: 'udp', ip: ADDRESSES.stranger.v4, port: 443 })
    expect(await firewall.table()).toBe(once)
    expect(await firewall.apply(RULES)).toEqual({ ok: true })
    expect(await firewall.table()).toBe(once)
  })

  it('leaves the old rules when a transaction is broken anywhere', async () => {
    network.namespaces.nft('host', FOREIGN)
    await firewall.apply(RULES)
    const before = await firewall.ruleset()
    for (const broken of [RULES.replace('chain output', 'chain ouput {'), `${RULES}add rule inet nowhere c accept\n`]) {
      expect(await firewall.apply(broken)).toMatchObject({ ok: false, code: 'rejected' })
      expect(await firewall.ruleset()).toBe(before)
    }
  })

  it('keeps bytes of open connections from moving by its rules alone, both ways', async () => {
    await network.at('host', { call: 'stream', ip: ADDRESSES.stranger.v4, port: 443 })
    await network.at('stranger', { call: 'stream', ip: ADDRESSES.host.v6, port: 8080 })
    const received = () =>
      Promise.all([network.at('stranger', { call: 'received' }), network.at('host', { call: 'received' })])
    const moving = await received()
    await delay(200)
    expect(await received()).not.toEqual(moving)
    await firewall.apply(RULES)
    const then = await received()
    await delay(400)
    expect(await received()).toEqual(then)
    const counters = await firewall.counters()
    expect(counters.get('out_tcp')).toBeGreaterThan(0)
    expect(counters.get('in_tcp')).toBeGreaterThan(0)
  })

  it('deletes its table and nothing else, also when there is none', async () => {
    network.namespaces.nft('host', FOREIGN)
    await firewall.apply(RULES)
    expect(withoutOurTable(await firewall.ruleset())).toBe(FOREIGN)
    expect(await firewall.deleteTable()).toEqual({ ok: true })
    expect(await firewall.deleteTable()).toEqual({ ok: true })
    expect(await firewall.ruleset()).toBe(FOREIGN)
    expect(await firewall.table()).toBeUndefined()
    expect(await firewall.counters()).toEqual(new Map())
  })

  it('tells a change by anybody, and goes on after the watcher was killed', async () => {
    const seen = { changes: 0 }
    const watch = firewall.watch(() => seen.changes++)
    try {
      const told = async () => {
        const before = seen.changes
        for (let i = 0; i < 100 && seen.changes === before; i++) {
          network.namespaces.nft('host', 'add table inet t\ndelete table inet t\n')
          await delay(50)
        }
        return seen.changes > before
      }
      expect(await told()).toBe(true)
      const pids = network.namespaces
        .exec('host', 'ip', 'netns', 'pids', network.namespaces.name('host'))
        .trim()
        .split('\n')
      const monitor = pids.find((pid) => network.namespaces.exec('host', 'cat', `/proc/${pid}/comm`).trim() === 'nft')
      process.kill(Number(monitor), 'SIGKILL')
      await delay(200)
      expect(await told()).toBe(true)
    } finally {
      await watch.stop()
    }
  })

  it('says before anything is touched that it cannot: no nft, or rules that the kernel refuses', async () => {
    expect(await createFirewall({ nft: '/nonexistent/nft' }).canRun(RULES)).toMatchObject({
      ok: false,
      code: 'unsupported',
    })
    expect(await firewall.canRun(`${RULES}add rule inet nowhere c accept\n`)).toMatchObject({ ok: false })
    expect(await firewall.canRun(RULES)).toEqual({ ok: true })
    expect(await firewall.ruleset()).toBe('')
  })

  it('throws rather than calling a host free when it cannot be asked', async () => {
    const broken = createFirewall({ nft: '/bin/false' })
    await expect(broken.table()).rejects.toMatchObject({ code: 'firewall_unreadable' })
    await expect(broken.ruleset()).rejects.toMatchObject({ code: 'firewall_unreadable' })
  })
})
