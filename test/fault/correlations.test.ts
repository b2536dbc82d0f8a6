/** A controller that is killed in the middle of a correlation's window: real processes, real stores. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { importFiles } from '../data/recordings.ts'
import { ControllerProcess } from './controller-process.ts'

const RULES = `title: Failed
id: failed
detection:
  s: { EventType: failed }
  condition: s
---
title: Exactly Three
id: three
level: high
correlation:
  type: event_count
  rules: [failed]
  group-by: [User]
  timespan: 1h
  condition: { eq: 3 }
`
const folder = mkdtempSync(join(tmpdir(), 'fb-correlate-'))
const stateDir = join(folder, 'state')
const flags = { 'detect.rule_dirs': [join(folder, 'rules')] }
let controller: ControllerProcess

beforeAll(async () => {
  mkdirSync(join(folder, 'rules'))
  writeFileSync(join(folder, 'rules/three.yml'), RULES)
  controller = await ControllerProcess.start(stateDir, flags)
}, 60_000)
afterAll(async () => {
  await controller.kill()
  rmSync(folder, { recursive: true, force: true })
})

it('counts every event once, whenever it is killed', { timeout: 180_000 }, async () => {
  for (let minute = 0; minute < 3; minute++) {
    const file = join(folder, `${minute}.ndjson`)
    const at = `2026-01-01T00:0${minute}:00Z`
    writeFileSync(file, `${JSON.stringify({ '@timestamp': at, Hostname: 'web', EventType: 'failed', User: 'ann' })}\n`)
    const { code } = await importFiles(controller, stateDir, [file])
    expect(code).toBe(0)
    if (minute === 2) break
    // At once, or when the batch is detected upon: either way it is in the store, and counts once.
    if (minute % 2 === 0) await expect.poll(() => controller.ask('waiting'), { timeout: 30_000 }).toEqual([])
    await controller.kill()
    controller = await ControllerProcess.start(stateDir, flags)
  }
  const said = () => controller.ask<readonly { readonly rule_id: string }[]>('signals')
  await expect.poll(said, { timeout: 30_000 }).toMatchObject([{ rule_id: 'three' }])
})
