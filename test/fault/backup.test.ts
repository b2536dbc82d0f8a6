import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Rig, startRig } from '@firebreak/controller/src/controller.rig.ts'
import { filesUnder, hashOf } from '@firebreak/controller/src/store/backup/backup-files.ts'
import { type BackupDeps, makeBackup } from '@firebreak/controller/src/store/backup/make-backup.ts'
import { checkBackup, restoreBackup } from '@firebreak/controller/src/store/backup/restore-backup.ts'
import { lockStateDir } from '@firebreak/controller/src/store/state/state-lock.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'

const FLAGS = { 'ingest.block_events': 200, 'ingest.block_wait_ms': 10 }
const now = () => Date.now()

let root: string
let rig: Rig
let agents: SimulatedAgent[]
let backup: string
const depsOf = ({ stateDir, controller: { state, telemetry, audit } }: Rig): BackupDeps => ({
  stateDir,
  state,
  telemetry,
  audit,
  now,
})

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'fb-backup-'))
  rig = await startRig(FLAGS, join(root, 'first'))
  const at = { host: '127.0.0.1', port: rig.started.gatewayPort }
  const { joinString } = await rig.controller.joinTokens.create({ group: 'g', lifeS: 600, maxUses: 10 }, 'user:test')
  agents = Array.from({ length: 3 }, (_, i) => new SimulatedAgent(`host-${i}`))
  for (const agent of agents) {
    agent.batchEvents = 50
    await agent.enrol(at, joinString)
    await agent.connect(at)
  }
  const stopping = new AbortController()
  const sending = agents.map((agent, i) => send(agent, i, stopping.signal))
  await until(async () => (await rig.controller.telemetry.count()) > 200)
  backup = join(root, 'backup')
  await makeBackup(depsOf(rig), backup)
  stopping.abort()
  await Promise.all(sending)
  await until(async () => agents.every((agent) => agent.isDrained()))
}, 240_000)
afterAll(() => {
  rmSync(root, { recursive: true, force: true })
})

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50)
}

function alter(path: string, statement: string): void {
  const database = new DatabaseSync(path)
  try {
    if (database.prepare(statement).run().changes !== 1) throw new Error(`nothing was altered: ${statement}`)
  } finally {
    database.close()
  }
}

/** The first page of a table becomes zeros. */
function blank(path: string, table: string): void {
  const database = new DatabaseSync(path)
  const page = Number(database.prepare('select rootpage from sqlite_master where name = ?').get(table)?.['rootpage'])
  database.close()
  const file = openSync(path, 'r+')
  try {
    writeSync(file, Buffer.alloc(4_096), 0, 4_096, (page - 1) * 4_096)
  } finally {
    closeSync(file)
  }
}

/** As somebody does who may write to the backup: the list says what there is now. */
async function listAnew(dir: string): Promise<void> {
  const path = join(dir, 'manifest.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { files: unknown[] }
  const names = (await filesUnder(dir)).filter((name) => name !== 'manifest.json')
  manifest.files = await Promise.all(names.map(async (name) => ({ path: name, ...(await hashOf(join(dir, name))) })))
  writeFileSync(path, JSON.stringify(manifest))
}

async function send(agent: SimulatedAgent, i: number, signal: AbortSignal): Promise<void> {
  for (let n = 0; !signal.aborted; n++) {
    for (let k = 0; k < 8; k++) agent.produce(k % 4 === 0 ? 'file' : 'process', processEvent(n * 8 + k, `host-${i}`))
    agent.flush()
    await sleep(50)
  }
}

describe('a backup made while hosts send', () => {
  it('that fails leaves nothing that looks like one, and its name can be used again', async () => {
    const target = join(root, 'failing')
    const deps = depsOf(rig)
    const broken = { ...deps, audit: { verify: async () => await Promise.reject(new Error('pulled the plug')) } }
    await expect(makeBackup(broken, target)).rejects.toMatchObject({ code: 'backup_failed' })
    // Nobody should find out when it is needed that it holds a log that was tampered with.
    const tampered = { ...deps, audit: { verify: async () => ({ ...(await deps.audit.verify()), ok: false }) } }
    await expect(makeBackup(tampered, target)).rejects.toMatchObject({
      code: 'backup_failed',
      message: expect.stringContaining('the audit log does not hold') as string,
    })
    expect(readdirSync(root).filter((name) => name.includes('failing'))).toEqual([])
    await makeBackup(deps, target)
    await expect(makeBackup(deps, target)).rejects.toMatchObject({ code: 'backup_exists' })
    await checkBackup(target)
    // The engine has one data directory a process: restores come after this controller.
    for (const agent of agents) agent.disconnect()
    await rig.stop()
  }, 120_000)

  it('restores to stores in which every event that was acknowledged before it is there once', async () => {
    const manifest = await checkBackup(backup)
    expect(manifest.telemetry?.events).toBeGreaterThan(0)
    const stateDir = join(root, 'restored')
    expect(await restoreBackup(backup, stateDir, { force: false, now })).toMatchObject({ aside: undefined })
    const again = await startRig(FLAGS, stateDir)
    try {
      const { state, telemetry, audit } = again.controller
      await expect
        .poll(
          async () =>
            (await state.db.selectFrom('ingest_batches').select('id').where('stored', '=', 0).execute()).length,
          { timeout: 20_000 },
        )
        .toBe(0)
      const streams = await state.db.selectFrom('streams').select(['agent_id', 'class', 'epoch', 'stored']).execute()
      expect(streams.length).toBe(6)
      const held = await telemetry.select<{ agent_id: string; class: string; events: number; distinct: number }>({
        sql: 'select agent_id, class, toFloat64(count()) as events, toFloat64(uniqExact(epoch, seq)) as distinct from firebreak.events group by agent_id, class',
        params: {},
      })
      if (!held.ok) throw new Error(held.why)
      for (const { agent_id, class: name, stored } of streams) {
        const row = held.value.find((one) => one.agent_id === agent_id && one.class === name)
        expect([name, row?.events, row?.distinct]).toEqual([name, stored, stored])
      }
      expect(await audit.verify()).toMatchObject({ ok: true })
      expect(await telemetry.seen('executable', '/usr/bin/curl')).toMatchObject({ hosts: 3 })
    } finally {
      await again.stop()
    }
  }, 180_000)

  it.each<[string, (dir: string) => void, RegExp]>([
    ['a file that was changed', (dir) => appendFileSync(join(dir, 'state.db'), 'x'), /state\.db was changed/],
    [
      'a missing part',
      (dir) =>
        rmSync(join(dir, 'telemetry', 'events', readdirSync(join(dir, 'telemetry', 'events'))[0] ?? ''), {
          recursive: true,
        }),
      /is missing/,
    ],
    ['a file that is not listed', (dir) => writeFileSync(join(dir, 'keys', 'more'), ''), /is not in its list/],
    ['no list', (dir) => rmSync(join(dir, 'manifest.json')), /has no readable manifest/],
    [
      'half a list',
      (dir) => writeFileSync(join(dir, 'manifest.json'), readFileSync(join(dir, 'manifest.json')).subarray(0, 500)),
      /manifest\.json is damaged/,
    ],
  ])('is refused for %s, and nothing is left of the attempt', async (name, damage, why) => {
    const copy = join(root, `copy ${name}`)
    cpSync(backup, copy, { recursive: true })
    damage(copy)
    const target = join(root, `target ${name}`)
    await expect(restoreBackup(copy, target, { force: false, now })).rejects.toMatchObject({
      code: 'backup_invalid',
      message: expect.stringMatching(why) as string,
    })
    expect(readdirSync(target)).toEqual(['controller.lock'])
  })

  it.each<[string, (dir: string) => void, RegExp]>([
    [
      'a record of the audit log that was changed',
      (dir) =>
        alter(
          join(dir, 'state.db'),
          "update audit set actor = 'user:nobody', record = replace(record, 'user:test', 'user:none') where n = 2",
        ),
      /record 2 of the audit log does not hold/,
    ],
    [
      'a record of the audit log that was taken off its end',
      (dir) => alter(join(dir, 'state.db'), 'delete from audit where n = (select max(n) from audit)'),
      /not the one that its list names/,
    ],
    [
      'a state in which a page of the hosts is gone',
      (dir) => blank(join(dir, 'state.db'), 'hosts'),
      /the copy of the state is damaged/,
    ],
    [
      'a part whose name is none',
      (dir) => {
        const parts = join(dir, 'telemetry', 'events')
        renameSync(join(parts, readdirSync(parts)[0] ?? ''), join(parts, "x' y"))
      },
      /is no name of a part/,
    ],
    [
      'fewer events than it says',
      (dir) => {
        const parts = join(dir, 'telemetry', 'events')
        rmSync(join(parts, readdirSync(parts)[0] ?? ''), { recursive: true })
      },
      /events came back/,
    ],
  ])(
    'with a list that fits, but with %s, is not restored, and nothing is left of the attempt',
    async (name, damage, why) => {
      const copy = join(root, `forged ${name}`)
      cpSync(backup, copy, { recursive: true })
      damage(copy)
      await listAnew(copy)
      const target = join(root, `target of forged ${name}`)
      await expect(restoreBackup(copy, target, { force: false, now })).rejects.toMatchObject({
        code: expect.stringMatching(/^(backup_invalid|restore_failed)$/) as string,
        message: expect.stringMatching(why) as string,
      })
      expect(readdirSync(target)).toEqual(['controller.lock'])
    },
  )

  it('of another form than this version knows is refused', async () => {
    const copy = join(root, 'later')
    mkdirSync(copy)
    const manifest = JSON.parse(readFileSync(join(backup, 'manifest.json'), 'utf8')) as object
    writeFileSync(join(copy, 'manifest.json'), JSON.stringify({ ...manifest, format: 2, files: [] }))
    await expect(checkBackup(copy)).rejects.toMatchObject({
      code: 'backup_invalid',
      message: expect.stringContaining('not of a form that this version knows') as string,
    })
  })

  it('is not restored over a running controller, nor over what is there unless that is to be moved aside', async () => {
    const target = join(root, 'occupied')
    const unlock = lockStateDir(target)
    await expect(restoreBackup(backup, target, { force: true, now })).rejects.toMatchObject({ code: 'already_running' })
    unlock()
    await restoreBackup(backup, target, { force: false, now })
    writeFileSync(join(target, 'keys', 'mine'), 'kept')
    await expect(restoreBackup(backup, target, { force: false, now })).rejects.toMatchObject({ code: 'not_empty' })
    const { aside = '' } = await restoreBackup(backup, target, { force: true, now })
    expect(readFileSync(join(aside, 'keys', 'mine'), 'utf8')).toBe('kept')
    expect(existsSync(join(target, 'keys', 'mine'))).toBe(false)
  }, 120_000)

  it('does not start over half a restore', async () => {
    const target = join(root, 'half')
    await restoreBackup(backup, target, { force: false, now })
    writeFileSync(join(target, 'restore-unfinished'), '')
    await expect(startRig({}, target)).rejects.toMatchObject({ code: 'restore_unfinished' })
    await restoreBackup(backup, target, { force: true, now })
    await (await startRig({}, target)).stop()
  }, 120_000)
})
