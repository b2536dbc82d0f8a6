import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventSchema } from '@firebreak/shared/events/event.ts'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'
import { describe, expect, it } from 'vitest'
import { linuxCases } from './linux.cases.ts'

const folder = join(import.meta.dirname, 'linux')
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yml'))
  .map((name) => name.slice(0, -4))
const parsed = parseRules(
  names.map((name) => ({ file: `linux/${name}.yml`, text: readFileSync(join(folder, `${name}.yml`), 'utf8') })),
)
const plan = compilePlan(parsed.rules)
const firedBy = (event: unknown) => plan.match(event).map(({ rule }) => rule.file)

describe('the rules that ship', () => {
  it('all load', () => {
    expect([...parsed.refused, ...plan.refused]).toEqual([])
    expect(plan.rules).toHaveLength(names.length)
  })

  it('each has an id of its own, a level, ATT&CK tags with references to them, and known false positives', () => {
    expect(new Set(plan.rules.map(({ id }) => id)).size).toBe(names.length)
    for (const rule of plan.rules) {
      expect(rule.id, rule.file).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(rule.level, rule.file).not.toBeNull()
      expect(rule.falsePositives.length, rule.file).toBeGreaterThan(0)
      const techniques = rule.tags.filter((tag) => /^attack\.t\d{4}/.test(tag))
      expect(techniques.length, rule.file).toBeGreaterThan(0)
      for (const technique of techniques) {
        const page = technique.slice('attack.'.length).toUpperCase().replace('.', '/')
        expect(rule.references, rule.file).toContain(`https://attack.mitre.org/techniques/${page}/`)
      }
    }
  })

  it('each has events that it fires on and events that it leaves alone', () => {
    expect(Object.keys(linuxCases).sort()).toEqual([...names].sort())
  })

  it.each(Object.entries(linuxCases))('%s fires on the attack and not on everyday work', (name, { fires, silent }) => {
    const file = `linux/${name}.yml`
    expect(fires.length).toBeGreaterThan(0)
    expect(silent.length).toBeGreaterThan(0)
    for (const event of fires) {
      expect([...eventSchema.Errors(event)]).toEqual([])
      expect(firedBy(event), JSON.stringify(event)).toContain(file)
    }
    for (const event of silent) {
      expect([...eventSchema.Errors(event)]).toEqual([])
      expect(firedBy(event), JSON.stringify(event)).not.toContain(file)
    }
  })
})
