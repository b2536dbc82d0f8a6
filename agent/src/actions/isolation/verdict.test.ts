import type { Probe } from '@firebreak/shared/commands/isolate-host.ts'
import { expect, it } from 'vitest'
import { isolationVerdict } from './verdict.ts'

const probe = (name: string, expected: Probe['expected'], found: Probe['found']): Probe => ({
  name,
  target: 't',
  expected,
  found,
})
const good = [
  probe('tcp-new', 'blocked', 'blocked'),
  probe('icmp', 'blocked', 'unverifiable'),
  probe('loopback', 'open', 'open'),
  probe('loopback', 'open', 'unverifiable'),
  probe('controller', 'open', 'open'),
]

it('is proved when all probes say so and a drop was counted', () => {
  expect(isolationVerdict({ probes: good, dropped: 1 }, true)).toEqual({ ok: true })
})

it.each([
  ['the table is another', { probes: good, dropped: 1 }, false],
  ['no drop was counted', { probes: good, dropped: 0 }, true],
  ['somebody foreign is reached', { probes: [...good, probe('udp', 'blocked', 'open')], dropped: 1 }, true],
  ['loopback is cut', { probes: [...good, probe('loopback', 'open', 'blocked')], dropped: 1 }, true],
  ['the controller is cut', { probes: [...good, probe('controller', 'open', 'blocked')], dropped: 1 }, true],
  ['nothing could be tried', { probes: good.slice(1), dropped: 9 }, true],
] as const)('is not proved when %s', (_, proof, intact) => {
  expect(isolationVerdict(proof, intact)).toMatchObject({ ok: false, code: 'effect_refuted' })
})
