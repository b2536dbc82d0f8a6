import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Import } from '@firebreak/controller/src/api/imports.ts'
import { countStored } from '@firebreak/controller/src/store/telemetry/telemetry.rig.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ControllerProcess } from './controller-process.ts'
import { freePort } from './free-port.ts'

const MAIN = fileURLToPath(new URL('../../controller/src/main.ts', import.meta.url))
const RECORDS = 9_000
const HOSTS = 3

let dir: string
let recording: string
let flags: Readonly<Record<string, unknown>>
let controller: ControllerProcess
const children: ChildProcess[] = []

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-import-kill-'))
  recording = join(dir, 'attack.jsonl')
  const line = (n: number) =>
    JSON.stringify({
      EventID: 1,
      Channel: 'Microsoft-Windows-Sysmon/Operational',
      Hostname: `WS${n % HOSTS}`,
      UtcTime: '2020-06-10 02:51:04.728',
      Image: String.raw`C:\Windows\System32\whoami.exe`,
      CommandLine: `whoami /all ${n}`,
      ProcessId: String(n),
    })
  writeFileSync(recording, Array.from({ length: RECORDS }, (_, n) => `${line(n)}\n`).join(''))
  flags = { 'api.port': await freePort(), 'ingest.block_wait_ms': 10, 'ingest.block_events': 2_000 }
  controller = await ControllerProcess.start(join(dir, 'state'), flags)
}, 60_000)
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await controller?.kill()
  rmSync(dir, { recursive: true, force: true })
})

const token = () => readFileSync(join(dir, 'state', 'admin.token'), 'utf8').trim()

/** `firebreak events import` as a person runs it. */
function importing(): {
  readonly child: ChildProcess
  readonly done: Promise<{ code: number | null; out: string; err: string }>
} {
  const env = { ...process.env, FIREBREAK_API: controller.apiUrl, FIREBREAK_TOKEN: token(), NO_COLOR: '1' }
  const child = spawn(process.execPath, [MAIN, 'events', 'import', '--json', recording], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  let [out, err] = ['', '']
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()))
  return { child, done: once(child, 'close').then(([code]) => ({ code: code as number | null, out, err })) }
}

async function known(): Promise<Import | undefined> {
  const answer = await fetch(`${controller.apiUrl}/api/v1/imports`, { headers: { authorization: `Bearer ${token()}` } })
  const { items } = (await answer.json()) as { items: Import[] }
  return items[0]
}

async function takenPast(lines: number): Promise<number> {
  for (;;) {
    const one = await known()
    if (one !== undefined && one.lines > lines) return one.lines
    await sleep(5)
  }
}

describe('an import that is killed', () => {
  it('on either side, again and again, leaves every record stored once, and a further run stores nothing', {
    timeout: 180_000,
  }, async () => {
    const first = importing()
    const taken = await takenPast(0)
    first.child.kill('SIGKILL')
    await first.done
    const kept = (await known())?.lines ?? 0
    expect(kept).toBeGreaterThanOrEqual(taken)
    expect(kept).toBeLessThan(RECORDS)

    const second = importing()
    const told = await takenPast(kept + 1_000)
    await controller.kill()
    controller = await ControllerProcess.start(join(dir, 'state'), flags)
    expect((await known())?.lines, 'what was acknowledged is not forgotten').toBeGreaterThanOrEqual(told)
    const { code, out, err } = await second.done
    expect(code, err).toBe(0)
    expect(err).toContain(`goes on after line ${kept}`)
    expect(err).toContain('waits for the controller')
    const all = { records: RECORDS, stored_records: RECORDS, stored_events: RECORDS, refused_records: 0, hosts: HOSTS }
    expect(JSON.parse(out)).toMatchObject({ ...all, files: [{ state: 'stored' }] })

    const third = await importing().done
    expect(JSON.parse(third.out)).toMatchObject({ ...all, files: [{ state: 'known' }] })

    await expect.poll(async () => (await controller.ask<unknown[]>('waiting')).length, { timeout: 30_000 }).toBe(0)
    const streams =
      await controller.ask<{ produced: number; stored: number; dropped: number; acked_seq: number }[]>('streams')
    expect(streams).toHaveLength(HOSTS)
    for (const stream of streams)
      expect(stream).toMatchObject({ produced: RECORDS / HOSTS, stored: RECORDS / HOSTS, dropped: 0 })
    await controller.stop()
    expect(await countStored(join(dir, 'state', 'telemetry'))).toEqual({ events: RECORDS, distinct: RECORDS })
  })
})
