import { expect, it } from 'vitest'
import { hasSha256, sha256 } from './evidence.ts'

it('knows a release code by its digest, and nothing else by it', () => {
  const digest = sha256('k3vqz-7xw2a-m4tdu-pl5ne')
  expect(hasSha256('k3vqz-7xw2a-m4tdu-pl5ne', digest)).toBe(true)
  for (const wrong of ['', 'k3vqz-7xw2a-m4tdu-pl5nf', 'K3VQZ-7XW2A-M4TDU-PL5NE', digest])
    expect(hasSha256(wrong, digest)).toBe(false)
  for (const cut of ['', 'zz', digest.slice(0, 62), `${digest}00`])
    expect(hasSha256('k3vqz-7xw2a-m4tdu-pl5ne', cut)).toBe(false)
})
