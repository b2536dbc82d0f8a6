import { describe, expect, it } from 'vitest'
import { formatJoinString, newJoinToken, parseJoinString, tokenIdOf, tokenKeyOf } from './join-string.ts'

describe('join string', () => {
  it('carries token and root hash there and back', () => {
    const join = { token: newJoinToken(), rootHash: newJoinToken() }
    const parsed = parseJoinString(` ${formatJoinString(join)}\n`)
    expect(parsed.ok && Buffer.from(parsed.value.token)).toEqual(Buffer.from(join.token))
    expect(parsed.ok && Buffer.from(parsed.value.rootHash)).toEqual(Buffer.from(join.rootHash))
  })

  it('is refused with advice when it was cut, padded or is of another version', () => {
    const good = formatJoinString({ token: newJoinToken(), rootHash: newJoinToken() })
    for (const bad of ['', 'fb1', good.slice(0, -1), `${good}=`, `${good}.x`, good.replace('fb1', 'fb2')])
      expect(parseJoinString(bad)).toMatchObject({ ok: false, code: 'bad_join_string' })
  })

  it('is found by an id that gives away neither token nor key', () => {
    const token = newJoinToken()
    const id = tokenIdOf(token)
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    expect(Buffer.from(tokenKeyOf(token)).toString('hex')).not.toContain(id)
  })
})
