import { describe, expect, it, vi } from 'vitest'
import { skipWithout } from './lab.ts'

describe('where no lab can run', () => {
  it('tests are skipped with their number and every reason said', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    const reasons = ['needs root', 'tcpdump is missing']
    expect(skipWithout({ ok: false, code: 'lab_unsupported', why: reasons.join('; '), reasons }, 7, 'isolation')).toBe(
      true,
    )
    expect(warn).toHaveBeenCalledExactlyOnceWith(
      'skipped: 7 tests of isolation, no lab here: needs root; tcpdump is missing',
    )
    warn.mockRestore()
  })

  it('nothing is said where it can', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
    expect(skipWithout({ ok: true }, 7, 'isolation')).toBe(false)
    expect(warn).not.toHaveBeenCalled()
    warn.mockRestore()
  })
})
