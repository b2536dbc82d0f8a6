import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

const made: string[] = []

// Importing it makes the test file clean up behind itself, once its last test is over.
afterAll(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true })
})

export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'fb-agent-'))
  made.push(path)
  return path
}
