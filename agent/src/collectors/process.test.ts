import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { entityIdOf } from '../platform/linux/process-identity.ts'
import { RecordedEmit, waitFor } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { ExecutableIdentities } from './executable-identities.ts'
import { createPackageOwners } from './package-owners.ts'
import { ProcessTable } from './process-table.ts'
import { createProcessCollector } from './process.ts'
import { Sources } from './sources.ts'
import { BOOT_ID, FakeProcfs } from './procfs.fake.ts'

const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex')
const config = { enabled: true, interval_ms: 20, hash_max_bytes: 64 << 20, hash_bytes_per_s: 1 << 30 }
// The lists of packages take seconds to read on a busy machine.
vi.setConfig({ testTimeout: 60_000 })
const running: Collector[] = []
const children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const collector of running.splice(0)) await collector.stop()
})

async function watch(roots: { procRoot: string; root: string }, wanted = config) {
  const clock = systemClock
  const table = new ProcessTable({ clock, ...roots })
  const owners = createPackageOwners(roots.root)
  const executables = new ExecutableIdentities(
    { clock, owners },
    { max_bytes: wanted.hash_max_bytes, bytes_per_s: wanted.hash_bytes_per_s },
  )
  const sources = new Sources(clock)
  const deps = { clock, hostName: 'web-1', platform: 'linux' as const, table, executables, sources }
  const collector = createProcessCollector(deps, wanted)
  const emit = new RecordedEmit()
  running.push(collector)
  await collector.start(emit)
  const find = (pid: number, action: string) =>
    emit.find(`${action} of ${pid}`, (event) => event.process?.pid === pid && event.event.action === action, 30_000)
  return { collector, emit, find }
}

describe('on the processes of this host', { skip: process.platform !== 'linux' }, () => {
  const host = { procRoot: '/proc', root: '/' }
  const start = (command: string, args: readonly string[], cwd = '/') => {
    const child = spawn(command, args, { stdio: 'ignore', cwd })
    children.push(child)
    if (child.pid === undefined) throw new Error(`cannot start ${command}`)
    return child.pid
  }

  it('knows the processes that were there before, without calling them new', async () => {
    const pid = start('sleep', ['20'])
    const { emit, find } = await watch(host)
    const existing = await find(pid, 'process-existing')
    expect(existing.event.type).toEqual(['info'])
    expect(emit.events.some((event) => event.process?.pid === process.pid)).toBe(true)
  })

  it('tells a start with command line, executable, account, folder and the whole chain of parents', async () => {
    const { find } = await watch(host)
    await find(process.pid, 'process-existing')
    const pid = start('sh', ['-c', 'sleep 20; true'], tmpdir())
    const shell = await find(pid, 'process-started')
    expect(shell.process).toMatchObject({
      executable: realpathSync('/bin/sh'),
      command_line: 'sh -c sleep 20; true',
      args: ['sh', '-c', 'sleep 20; true'],
      args_count: 3,
      working_directory: realpathSync(tmpdir()),
      parent: { pid: process.pid, executable: process.execPath },
    })
    expect(shell.process?.entity_id).toMatch(/^[0-9a-f]{8}-\d+-\d+$/)
    expect(shell.user).toEqual({ id: String(userInfo().uid), name: userInfo().username })
    expect(Math.abs(Date.parse(shell.process?.start ?? '') - Date.now())).toBeLessThan(10_000)
    const watched = running[0]
    const sleep = await waitFor('the sleep below the shell', () => findChild(pid))
    const child = await find(sleep, 'process-started')
    expect(child.process?.parent).toMatchObject({ pid, entity_id: shell.process?.entity_id })
    expect(child.process?.ancestors?.[0]).toMatchObject({ pid: process.pid })
    expect(watched?.health()).toMatchObject({ state: 'running', why: expect.stringContaining('can be missed') })
  })

  it('tells the end, and which process it was', async () => {
    const { find } = await watch(host)
    const pid = start('sleep', ['20'])
    const started = await find(pid, 'process-started')
    process.kill(pid)
    const ended = await find(pid, 'process-ended')
    expect(ended.event.type).toEqual(['end'])
    expect(ended.process).toMatchObject({ entity_id: started.process?.entity_id, command_line: 'sleep 20' })
    expect(ended.process?.end).toBe(ended['@timestamp'])
  })

  it('tells when a process becomes another program, under the same entity id', async () => {
    const { find } = await watch(host)
    const shell = spawn('sh', ['-c', 'read go; exec sleep 21'], { stdio: ['pipe', 'ignore', 'ignore'] })
    children.push(shell)
    const pid = shell.pid ?? 0
    const started = await find(pid, 'process-started')
    shell.stdin.write('go\n')
    const exec = await find(pid, 'exec')
    expect(exec.event.type).toEqual(['start'])
    expect(exec.process).toMatchObject({ entity_id: started.process?.entity_id, command_line: 'sleep 21' })
  })

  it('tells the SHA-256 of an executable as soon as it is known, and with every later start of the file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hash-'))
    const program = join(folder, 'sleeper')
    copyFileSync('/bin/sleep', program)
    const { find } = await watch(host)
    const first = start(program, ['20'])
    const whole = sha256(readFileSync(program))
    const identified = await find(first, 'executable-identified')
    expect(identified.event.type).toEqual(['info'])
    expect(identified.process).toMatchObject({ pid: first, executable: program, hash: { sha256: whole } })
    expect(identified.firebreak?.executable?.package).toEqual({ status: 'unowned' })
    const next = await find(start(program, ['20']), 'process-started')
    expect(next.process?.hash?.sha256).toBe(whole)
    rmSync(folder, { recursive: true })
  })

  it('names an executable that was deleted by its path, and says that it was deleted', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'deleted-'))
    const program = join(folder, 'implant')
    copyFileSync('/bin/sleep', program)
    const pid = start(program, ['20'])
    await waitFor('its exec', () => realpathOf(pid) === program || undefined)
    unlinkSync(program)
    const { find } = await watch(host)
    const found = await find(pid, 'process-existing')
    expect(found.process).toMatchObject({ executable: program, name: 'implant' })
    expect(found.event.reason).toContain('deleted')
    rmSync(folder, { recursive: true })
  })

  it('keeps bytes that are no UTF-8 as escapes, and newlines as they are', async () => {
    const { emit } = await watch(host)
    start('bash', [
      '-c',
      String.raw`exec sleep $'2\x30' 2>/dev/null $'0.\x31' --version $'a\xff\xfeb' $'c\nd' & exec sleep 20`,
    ])
    start('bash', ['-c', String.raw`exec -a $'evil\xff\nname' sleep 20`])
    const event = await emit.find('the renamed process', (one) => one.process?.args?.[0]?.startsWith('evil') ?? false)
    expect(event.process?.args).toEqual(['evil\\xff\nname', '20'])
    expect(event.process?.command_line).toBe('evil\\xff\nname 20')
  })

  it('keeps the length and digest of a 1.5 MB command line, and cuts the field', async () => {
    const args = ['-c', 'sleep 20; true', ...Array.from({ length: 12 }, (_, n) => String(n % 10).repeat(120 * 1_024))]
    const { find } = await watch(host)
    const pid = start('sh', args)
    const event = await find(pid, 'process-started')
    const whole = ['sh', ...args].join(' ')
    expect(event.process?.command_line).toBe(whole.slice(0, 32_768))
    expect(event.process?.args_count).toBe(args.length + 1)
    expect(cutOf(event, 'process.command_line')).toMatchObject({ bytes: whole.length, sha256: sha256(whole) })
  })
})

describe('on recorded processes', () => {
  it('keeps the length and digest of a 10 MB command line in an event that fits the wire', async () => {
    using fake = new FakeProcfs()
    const { find } = await watch(fake)
    const whole = Buffer.concat(
      Array.from({ length: 160 }, (_, n) => Buffer.from(`${'\u0001'.repeat(65_535)}${n % 10}\0`)),
    )
    fake.add({ pid: 50, cmdline: whole })
    const event = await find(50, 'process-started')
    const body = whole.subarray(0, -1)
    expect(event.process?.args_count).toBe(160)
    expect(event.process?.command_line?.length).toBeLessThanOrEqual(32_768)
    expect(Buffer.byteLength(JSON.stringify(event))).toBeLessThan(256 * 1_024)
    expect(cutOf(event, 'process.args')).toMatchObject({ bytes: body.length, sha256: sha256(body) })
    const spaced = Buffer.from(body.toString('latin1').replaceAll('\0', ' '), 'latin1')
    expect(cutOf(event, 'process.command_line')).toMatchObject({ bytes: body.length, sha256: sha256(spaced) })
  })

  it('tells one end and one start when a pid is given to another process between two looks', async () => {
    using fake = new FakeProcfs()
    fake.add({ pid: 1, startTicks: 1 })
    const { emit, find } = await watch(fake)
    fake.add({ pid: 60, startTicks: 100, cmdline: 'first\0' })
    await find(60, 'process-started')
    fake.add({ pid: 60, startTicks: 200, cmdline: 'second\0' })
    await emit.find('the second', (event) => event.process?.command_line === 'second')
    const story = emit.events.filter((event) => event.process?.pid === 60)
    expect(story.map((event) => [event.event.action, event.process?.entity_id])).toEqual([
      ['process-started', entityIdOf(BOOT_ID, 60, 100)],
      ['process-ended', entityIdOf(BOOT_ID, 60, 100)],
      ['process-started', entityIdOf(BOOT_ID, 60, 200)],
    ])
  })

  it('does not take a younger process for the parent only because it has the number', async () => {
    using fake = new FakeProcfs()
    const { find } = await watch(fake)
    fake.add({ pid: 70, startTicks: 900 })
    await find(70, 'process-started')
    fake.add({ pid: 71, ppid: 70, startTicks: 500 })
    const event = await find(71, 'process-started')
    expect(event.process?.parent).toEqual({ pid: 70 })
  })

  it('keeps the first parent when the parent ends and the process is given to another', async () => {
    using fake = new FakeProcfs()
    fake.add({ pid: 1, startTicks: 1, cmdline: 'init\0' })
    const { find } = await watch(fake)
    fake.add({ pid: 80, startTicks: 100, cmdline: 'dropper\0' })
    await find(80, 'process-started')
    fake.add({ pid: 81, ppid: 80, startTicks: 110 })
    await find(81, 'process-started')
    fake.remove(80)
    fake.setStat({ pid: 81, ppid: 1, startTicks: 110 })
    await find(80, 'process-ended')
    fake.remove(81)
    const ended = await find(81, 'process-ended')
    expect(ended.process?.parent).toMatchObject({ pid: 80, name: 'prog', entity_id: entityIdOf(BOOT_ID, 80, 100) })
  })

  it('has parents before children when both are new at the same look', async () => {
    using fake = new FakeProcfs()
    const { find } = await watch(fake, { ...config, interval_ms: 200 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    for (let pid = 119; pid >= 100; pid--) fake.add({ pid, ppid: pid - 1, startTicks: 500 })
    const last = await find(119, 'process-started')
    expect(last.process?.parent?.pid).toBe(118)
    expect(last.process?.ancestors?.map((one) => one.pid)).toEqual(Array.from({ length: 16 }, (_, n) => 117 - n))
  })

  it('counts a process that ended between being listed and being read', async () => {
    using fake = new FakeProcfs()
    const { collector, emit } = await watch(fake)
    fake.addVanished(90)
    await waitFor('the loss', () => emit.lostCount > 0 || undefined)
    expect(collector.health().lost).toBe(emit.lostCount)
    expect(emit.events).toEqual([])
  })

  it('tells start, end and exit code of one that was already dead at first sight', async () => {
    using fake = new FakeProcfs()
    const { emit, find } = await watch(fake)
    fake.add({ pid: 91, state: 'Z', exe: '', cmdline: '', exitStatus: 3 << 8, comm: 'brief (1)\n)' })
    const ended = await find(91, 'process-ended')
    expect(ended.process).toMatchObject({ name: 'brief (1)\n)', exit_code: 3 })
    expect(emit.events.map((event) => event.event.action)).toEqual(['process-started', 'process-ended'])
  })

  it("calls a child that still runs its parent's image a fork, and one that execs at once a start", async () => {
    using fake = new FakeProcfs()
    fake.add({ pid: 1, startTicks: 1, startStack: 7_000 })
    const { emit, find } = await watch(fake)
    await find(1, 'process-existing')
    fake.add({ pid: 92, ppid: 1, startStack: 7_000 })
    expect((await find(92, 'fork')).event.type).toEqual(['start'])
    fake.add({ pid: 93, ppid: 1, startStack: 7_000, cmdline: 'sh\0' })
    await new Promise((resolve) => setTimeout(resolve, 30))
    fake.add({ pid: 93, ppid: 1, startStack: 8_000, cmdline: 'curl\0evil\0' })
    await find(93, 'process-started')
    const told = emit.events.filter((event) => event.process?.pid === 93)
    expect(told.map((event) => event.process?.command_line)).toEqual(['curl evil'])
  })

  it('leaves kernel threads out and tells in whose rights a setuid program runs', async () => {
    using fake = new FakeProcfs()
    fake.add({ pid: 2, flags: 0x20_0040, exe: '', cmdline: '' })
    const { emit, find } = await watch(fake)
    fake.add({ pid: 94, uid: 1000, effectiveUid: 0, ppid: 0 })
    const event = await find(94, 'process-started')
    expect(event.user).toEqual({ id: '1000', name: 'alice', effective: { id: '0', name: 'root' } })
    expect(emit.events.some((one) => one.process?.pid === 2)).toBe(false)
  })
})

function cutOf(event: Event, field: string) {
  return event.firebreak?.truncated?.find((cut) => cut.field === field)
}

function findChild(ppid: number): number | undefined {
  const children = readFileSync(`/proc/${ppid}/task/${ppid}/children`, 'latin1').trim()
  return children === '' ? undefined : Number(children.split(' ')[0])
}

function realpathOf(pid: number): string | undefined {
  try {
    return realpathSync(`/proc/${pid}/exe`)
  } catch {
    return undefined
  }
}
