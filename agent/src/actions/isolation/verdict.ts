/** What the probes add up to. */
import type { Probe } from '@firebreak/shared/commands/isolate-host.ts'
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import type { Proof } from './probes.ts'

/**
 * Proved only when the table is the one that was put in force, nobody foreign was reached, loopback and the controller were, and at
 * least one try is known to have died in our rules: a drop was counted while it was blocked.
 */
export function isolationVerdict(proof: Proof, tableIntact: boolean): Result<void, 'effect_refuted'> {
  const no = (why: string) => refuse('effect_refuted', why)
  if (!tableIntact) return no('the table in the kernel is not the one that was put in force')
  const leak = proof.probes.find((probe) => probe.expected === 'blocked' && probe.found === 'open')
  if (leak) return no(`${leak.name} reached ${leak.target}: ${leak.detail ?? ''}`)
  const cut = mustBeOpen(proof.probes)
  if (cut) return no(cut)
  if (proof.dropped === 0 || !proof.probes.some((probe) => probe.expected === 'blocked' && probe.found === 'blocked')) {
    return no('no try is known to have died in the rules')
  }
  return ok()
}

/** Why loopback or the controller is not reached; a host without IPv6 has no ::1. */
export function mustBeOpen(probes: readonly Probe[]): string | undefined {
  const own = probes.filter((probe) => probe.name === 'loopback' || probe.name === 'controller')
  const cut = own.find((probe) => probe.found === 'blocked')
  if (cut) return `${cut.name} (${cut.target}) is not reached: ${cut.detail ?? ''}`
  if (!own.some((probe) => probe.name === 'loopback' && probe.found === 'open')) return 'loopback could not be tried'
  return undefined
}
