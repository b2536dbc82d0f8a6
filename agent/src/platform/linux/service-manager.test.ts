import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { silentLog } from '../../log.ts'
import { AGENT_LOG } from '../../log-names.ts'
import { createServiceManager } from './service-manager.ts'

const folder = temporaryFolder()
const said = join(folder, 'said')
const path = process.env.PATH
const clock = new FakeClock()
let warned: string[] = []

/** Stands in for systemd-notify(1): writes down what it was told. */
function notifier(body: string): void {
  writeFileSync(join(folder, 'systemd-notify'), `#!/bin/sh\n${body}\n`)
  chmodSync(join(folder, 'systemd-notify'), 0o755)
}

beforeEach(() => {
  warned = []
  writeFileSync(said, '')
  notifier(`echo "$*" >> '${said}'`)
  process.env.PATH = `${folder}:${path}`
})
afterEach(() => {
  process.env.PATH = path
})

const create = (env: Record<string, string>) =>
  createServiceManager({ env, clock, log: { ...silentLog, warn: (name) => warned.push(name) } })

async function lines(count: number): Promise<string[]> {
  for (let i = 0; i < 500; i++) {
    const all = readFileSync(said, 'utf8').split('\n').filter(Boolean)
    if (all.length >= count) return all
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`waited in vain for ${count} lines: ${readFileSync(said, 'utf8')}`)
}

describe('the service manager', () => {
  it('hears that the agent is ready, twice in each watchdog period that it lives, and that it stops', async () => {
    const manager = create({ NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '20000000' })
    manager.ready('watching')
    expect(await lines(1)).toEqual(['--ready --status=watching'])
    await clock.advance(9_999)
    await clock.advance(1)
    expect(await lines(2)).toContain('WATCHDOG=1')
    await clock.advance(10_000)
    expect(await lines(3)).toHaveLength(3)
    manager.stopping()
    expect(await lines(4)).toContain('STOPPING=1')
    await clock.advance(60_000)
    expect(await lines(4)).toHaveLength(4)
  })

  it('is not spoken to where none listens', async () => {
    const manager = create({ WATCHDOG_USEC: '20000000' })
    manager.ready('watching')
    await clock.advance(60_000)
    manager.stopping()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(readFileSync(said, 'utf8')).toBe('')
    expect(existsSync(said)).toBe(true)
  })

  it('hears no sign of life where it did not ask for one', async () => {
    const manager = create({ NOTIFY_SOCKET: '/run/systemd/notify' })
    manager.ready('watching')
    await lines(1)
    await clock.advance(600_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await lines(1)).toHaveLength(1)
    manager.stopping()
    await lines(2)
  })

  it('that cannot be reached is a warning, not the end of the agent', async () => {
    notifier('exit 3')
    create({ NOTIFY_SOCKET: '/run/systemd/notify' }).ready('watching')
    while (warned.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(warned).toEqual([AGENT_LOG.notifyFailed])
  })
})
