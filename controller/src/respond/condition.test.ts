import { describe, expect, it } from 'vitest'
import { compileCondition } from './condition.ts'
import type { Facts } from './facts.ts'

const tags = Array.from({ length: 256 }, (_, index) => `tag:${index}`)
const facts: Facts = {
  incident: {
    id: 'i',
    title: 'T',
    severity: 'high',
    confidence: 90,
    decision: 'act',
    route: 'act',
    status: 'open',
    techniques: ['T1059'],
    tactics: ['execution'],
    hosts: ['a', 'b'],
    host_count: 2,
    assignee: '',
  },
  host: {
    id: 'a',
    hostname: 'web-1',
    group: 'default',
    tags,
    criticality: 'normal',
    protected: false,
    connected: true,
    contained: false,
    released: false,
    revoked: false,
    imported: false,
    last_of_kind: false,
  },
  alert: {
    id: 'x',
    title: 'T',
    severity: 'high',
    confidence: 90,
    techniques: ['T1059'],
    tactics: [],
    users: ['www-data'],
    addresses: [],
    files: [],
    hashes: [],
    signal_count: 3,
  },
}
function ask(text: string): unknown {
  const compiled = compileCondition(text)
  if (!compiled.ok) return compiled.why
  const answer = compiled.value.evaluate(facts)
  return answer.ok ? answer.value : answer.code
}

describe('a condition', () => {
  it.each<[string, boolean]>([
    ['incident.confidence >= 85.0 && incident.severity in ["high", "critical"]', true],
    ['incident.host_count > 1 && alert.signal_count == 3', true],
    ['host.group == "prod" || "tag:7" in host.tags', true],
    ['host.tags.exists(tag, tag.startsWith("role:"))', false],
    ['!host.connected', false],
  ])('%s is answered', (text, answer) => {
    expect(ask(text)).toBe(answer)
  })

  it('that divides by zero or reaches past a list has no answer, and that is a value', () => {
    expect(ask('1 / (incident.host_count - 2) > 0')).toBe('condition_failed')
    expect(ask('alert.users[9] == "root"')).toBe('condition_failed')
  })

  it.each([
    'constructor',
    'host.constructor',
    'host.__proto__ == host',
    'process.exit()',
    'globalThis',
    'import("fs")',
    'this',
  ])('cannot reach out of its sandbox by %s', (text) => {
    expect(compileCondition(text).ok).toBe(false)
  })

  it('of the worst allowed shape ends in well under a second', () => {
    const began = performance.now()
    ask('host.tags.all(a, host.tags.exists(b, a + b == "never" || a == b))')
    expect(performance.now() - began).toBeLessThan(1000)
  })

  it('of monstrous size or depth is refused', () => {
    expect(ask(`host.protected ${'|| host.protected '.repeat(1_000)}`)).toContain('longer than')
    expect(compileCondition(`${'('.repeat(900)}true${')'.repeat(900)}`).ok).toBe(false)
    expect(compileCondition(`${'!'.repeat(1_500)}true`).ok).toBe(false)
  })
})
