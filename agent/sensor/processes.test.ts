import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noSensor, type RecordOf, type RunningSensor, startSensor } from '../src/collectors/kernel/sensor.fixture.ts'
import type { SensorText } from '../src/collectors/kernel/record-reader.ts'
import { buildStorm } from './testing/build-storm.ts'

const run = promisify(execFile)
const text = ({ bytes }: SensorText) => Buffer.from(bytes).toString('latin1')
const why = noSensor()

describe.skipIf(why)(`the kernel sensor on processes${why ? ` (skipped: ${why})` : ''}`, () => {
  let sensor: RunningSensor
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'firebreak-sensor-'))
    sensor = await startSensor({
      switches: { process: true, network: false, dns: false, file: false, kernelCalls: false },
    })
  }, 30_000)
  afterAll(async () => {
    await sensor?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Runs a program to its end and returns its exec, as the sensor told it. */
  async function execOf(file: string, args: readonly (string | Buffer)[], cwd = folder): Promise<RecordOf<'exec'>> {
    const from = sensor.records.length
    const child = spawn(file, args as string[], { cwd, stdio: 'ignore' })
    await once(child, 'exit')
    return await sensor.next('exec', ({ actor }) => actor?.pid === child.pid, from)
  }

  it('tells every one of 1,500 short processes at up to 2,000 a second: start, program and end, with its arguments', async () => {
    const storm = spawn(buildStorm(), ['processes', '1500', '2000'], { stdio: 'ignore' })
    await once(storm, 'exit')
    const stats = await sensor.settled()
    expect(stats.classes.process.dropped).toBe(0)
    const isChild = ({ actor }: RecordOf<'exec' | 'exit' | 'fork'>) => actor?.ppid === storm.pid
    const execs = sensor.of('exec').filter(isChild)
    expect(new Set(execs.map((exec) => text(exec.arguments))).size).toBe(1_500)
    expect(execs.length).toBe(1_500)
    expect(sensor.of('fork').filter(isChild).length).toBe(1_500)
    expect(sensor.of('exit').filter(isChild).length).toBe(1_500)
  }, 60_000)

  it('tells who started it: ids, parent, folder, start time as /proc has it, file facts', async () => {
    const from = sensor.records.length
    const child = spawn('/bin/sleep', ['0.3'], { cwd: folder, stdio: 'ignore' })
    const exec = await sensor.next('exec', ({ actor }) => actor?.pid === child.pid, from)
    const stat = execFileSync('cat', [`/proc/${child.pid}/stat`], { encoding: 'latin1' })
    const ticks = BigInt(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 0)
    await once(child, 'exit')
    expect(exec.actor).toMatchObject({ ppid: process.pid, uid: 0, euid: 0, tid: child.pid })
    expect((exec.actor?.startBoottimeNs ?? 0n) / 10_000_000n).toBe(ticks)
    expect(text(exec.executable)).toBe('/usr/bin/sleep')
    expect(text(exec.fileName)).toBe('/bin/sleep')
    expect(text(exec.workingDirectory)).toBe(folder)
    const facts = statSync('/usr/bin/sleep', { bigint: true })
    expect(exec.file).toMatchObject({
      inode: facts.ino,
      mtimeNs: facts.mtimeNs,
      ctimeNs: facts.ctimeNs,
      size: Number(facts.size),
    })
    const exit = await sensor.next('exit', ({ actor }) => actor?.pid === child.pid, from)
    expect(exit).toMatchObject({ code: 0, signal: 0 })
    expect(Number(exit.runtimeNs) / 1e6).toBeGreaterThan(290)
  })

  it('keeps the bytes of arguments and names: newlines, invalid UTF-8, empty arguments', async () => {
    const name = Buffer.concat([Buffer.from(`${folder}/line\nbreak-`), Buffer.from([0xff, 0xfe, 0x80])])
    copyFileSync('/bin/true', name)
    const odd = spawnSync('perl', [
      '-e',
      `$p = fork; if (!$p) { exec { pack('H*', '${name.toString('hex')}') } ("a\\xff\\xfe", '', "two\\nlines", "\\xc3") }
      print $p; waitpid $p, 0`,
    ])
    const pid = Number(String(odd.stdout))
    const exec = await sensor.next('exec', ({ actor }) => actor?.pid === pid)
    expect(text(exec.executable)).toBe(name.toString('latin1'))
    expect(text(exec.arguments)).toBe('a\xff\xfe\0\0two\nlines\0\xc3\0')
    expect(exec.arguments.total).toBe(exec.arguments.bytes.length)
  })

  it('cuts a command line of 1 MB at 32 KiB and tells its whole length', async () => {
    const long = 'x'.repeat(100_000)
    const exec = await execOf(
      '/bin/true',
      Array.from({ length: 10 }, () => long),
    )
    expect(exec.arguments.bytes.length).toBe(32_768)
    expect(exec.arguments.total).toBe('/bin/true'.length + 1 + 10 * 100_001)
    expect(exec.argc).toBe(11)
  })

  it('tells a process in a folder 4,096 deep with the last part of its path', async () => {
    // In memory where it can be: a disk takes seconds to remove so many folders.
    const deep = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'firebreak-deep-'))
    const done = spawnSync('perl', [
      '-e',
      `chdir '${deep}'; for (0..4095) { $d = sprintf 'd%04d', $_; mkdir $d; chdir $d }
      $p = fork; if (!$p) { exec '/bin/true' } print $p; waitpid $p, 0`,
    ])
    const pid = Number(String(done.stdout))
    const exec = await sensor.next('exec', ({ actor }) => actor?.pid === pid)
    expect(text(exec.workingDirectory)).toMatch(/^d\d+\/.*\/d4095$/)
    expect(exec.workingDirectory.total).toBeUndefined()
    expect(exec.workingDirectory.bytes.length).toBeGreaterThan(700)
    await run('rm', ['-rf', deep])
  })

  it('tells the interpreter of a script and the script', async () => {
    const script = join(folder, 'script.sh')
    writeFileSync(script, '#!/bin/sh\nexit 7\n', { mode: 0o755 })
    const exec = await execOf(script, ['argument'])
    expect(exec).toMatchObject({ isScript: true })
    expect(text(exec.executable)).toBe('/usr/bin/dash')
    expect(text(exec.fileName)).toBe(script)
    const exit = await sensor.next('exit', ({ actor }) => actor?.pid === exec.actor?.pid)
    expect(exit.code).toBe(7)
  })

  it('marks programs that run from memory or whose file is gone', async () => {
    const memory = Number(String(spawnSync(buildStorm(), ['memory']).stdout))
    copyFileSync('/bin/true', join(folder, 'gone'))
    const done = spawnSync('perl', [
      '-e',
      `open F, '<', '${folder}/gone'; $^F = 99; unlink '${folder}/gone'; $p = fork;
      if (!$p) { require Fcntl; fcntl F, 2, 0; exec { '/proc/self/fd/' . fileno F } 'x' } print $p; waitpid $p, 0`,
    ])
    const gone = Number(String(done.stdout))
    const first = await sensor.next('exec', ({ actor }) => actor?.pid === memory)
    expect(first).toMatchObject({ isMemfd: true, isDeleted: true })
    expect(text(first.executable)).toBe('memfd:innocent')
    const second = await sensor.next('exec', ({ actor }) => actor?.pid === gone)
    expect(second).toMatchObject({ isMemfd: false, isDeleted: true })
    expect(text(second.executable)).toBe(join(folder, 'gone'))
  })

  it('marks a program that gains privileges, with the account before and after', async () => {
    const file = join(folder, 'gains')
    copyFileSync('/usr/bin/id', file)
    execFileSync('chmod', ['4755', file])
    execFileSync('chmod', ['755', folder])
    const from = sensor.records.length
    const child = spawn('setpriv', ['--reuid', '65534', '--clear-groups', file], { stdio: 'ignore' })
    await once(child, 'exit')
    const exec = await sensor.next('exec', (one) => one.actor?.pid === child.pid && text(one.executable) === file, from)
    expect(exec).toMatchObject({ gainedPrivileges: true, actor: { uid: 65_534, euid: 0 } })
    expect(exec.file.mode & 0o4000).toBe(0o4000)
  })

  it('tells the signal that ended a process, and the parent it had then', async () => {
    const from = sensor.records.length
    const child = spawn('/bin/sleep', ['60'], { stdio: 'ignore' })
    await sensor.next('exec', ({ actor }) => actor?.pid === child.pid, from)
    child.kill('SIGKILL')
    const exit = await sensor.next('exit', ({ actor }) => actor?.pid === child.pid, from)
    expect(exit).toMatchObject({ code: 0, signal: 9, actor: { ppid: process.pid } })
  })

  it('tells no thread, and the end of a program with threads once', async () => {
    const done = spawnSync(buildStorm(), ['threads'])
    const pid = Number(String(done.stdout))
    await sensor.next('exit', ({ actor }) => actor?.pid === pid)
    await sensor.settled()
    expect(sensor.of('exit').filter(({ actor }) => actor?.pid === pid)).toMatchObject([{ code: 3 }])
    expect(sensor.of('fork').filter(({ callerPid }) => callerPid === pid)).toEqual([])
  })
})
