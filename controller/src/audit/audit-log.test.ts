import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { type AuditLog, createAuditLog } from './audit-log.ts'
import { type AuditLine, ChainCheck } from './chain.ts'

let dir: string
let state: StateStore
let audit: AuditLog

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-audit-'))
  state = await openStateStore(join(dir, 'state.db'))
  audit = createAuditLog(state, { now: () => 1_780_000_000_000 }, signingKeyOf(generateSeed()))
  for (let i = 1; i <= 20; i++) {
    await state.write((tx) =>
      audit.append(tx, {
        actor: 'user:ann',
        action: 'hosts.host.tagged',
        objectType: 'host',
        objectId: `h${i}`,
        detail: { tag: `é-${i}` },
      }),
    )
  }
})
afterEach(async () => {
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

describe('the audit log', () => {
  it('holds as it was written, whole and in part', async () => {
    expect(await audit.verify()).toMatchObject({ ok: true, records: 20 })
    expect(await audit.verify({ from: 5, to: 9 })).toMatchObject({ ok: true, records: 5 })
  })

  it('leaves no line of a change that did not happen', async () => {
    const failed = state.write(async (tx) => {
      await audit.append(tx, { actor: 'system', action: 'a.b.done', objectType: 'x', objectId: 'y', detail: {} })
      throw new Error('the change itself failed')
    })
    await expect(failed).rejects.toThrow('the change itself failed')
    expect(await audit.verify()).toMatchObject({ ok: true, records: 20 })
  })

  it.each([
    ['a changed record', "update audit set record = replace(record, 'ann', 'eve') where n = 7", 7],
    ['a changed column', "update audit set actor = 'user:eve' where n = 8", 8],
    ['a deleted record', 'delete from audit where n = 9', 9],
    ['a record and its digest changed', "update audit set record = record || ' ', sha256 = '00' where n = 3", 3],
    [
      'two records in each other’s place',
      'update audit set n = case n when 4 then -5 else -4 end where n in (4, 5)',
      4,
    ],
  ])('names the first record that does not hold: %s', async (_what, statement, first) => {
    await state.close()
    const raw = new DatabaseSync(join(dir, 'state.db'))
    raw.exec(statement)
    raw.exec('update audit set n = -n where n < 0')
    raw.close()
    state = await openStateStore(join(dir, 'state.db'))
    audit = createAuditLog(state, Date, signingKeyOf(generateSeed()))
    expect(await audit.verify()).toMatchObject({ ok: false, brokenAt: first, records: first - 1 })
  })

  it('can be checked from an export alone, every byte of it', async () => {
    const lines: string[] = []
    for await (const line of audit.exportLines()) lines.push(line)
    const parsed = lines.slice(0, -1).map((line) => JSON.parse(line) as AuditLine)
    const walk = (given: readonly AuditLine[]) => {
      const check = new ChainCheck()
      for (const line of given) check.take(line)
      return check.result()
    }
    expect(walk(parsed)).toMatchObject({ ok: true, records: 20 })
    const victim = parsed[11] as AuditLine
    for (let at = 0; at < victim.record.length; at++) {
      const record = `${victim.record.slice(0, at)}~${victim.record.slice(at + 1)}`
      expect(walk(parsed.with(11, { ...victim, record }))).toMatchObject({ ok: false, brokenAt: 12 })
    }
    expect(JSON.parse(lines.at(-1) ?? '')).toHaveProperty('checkpoint.signatures')
  })
})
