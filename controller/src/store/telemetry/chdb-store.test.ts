import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import { LOOK_FIRST_AT, telemetryContract } from './telemetry-store.contract.ts'

telemetryContract('in the process', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fb-telemetry-'))
  return {
    open: async () => await openTelemetryStore(dir, LOOK_FIRST_AT),
    end: async () => rmSync(dir, { recursive: true, force: true }),
  }
})

it('tells a second process that the directory is taken', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fb-telemetry-taken-'))
  const store = await openTelemetryStore(dir)
  const script = `import { openTelemetryStore } from ${JSON.stringify(new URL('chdb-store.ts', import.meta.url).href)}
    await openTelemetryStore(process.argv[1]).catch((fault) => console.log(fault.code, fault.message))`
  const run = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script, dir], { encoding: 'utf8' })
  expect(run.stdout).toMatch(/^telemetry_unreadable .*another process has it open/)
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})
