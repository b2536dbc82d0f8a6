import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { noSensor } from './sensor.fixture.ts'
import { WatchedHost } from './watched-host.fixture.ts'

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })
const why = noSensor()
/** Its own file system is in memory: a tree of 4,096 folders is made and removed in no time. */
const deep = why === undefined ? mkdtempSync('/dev/shm/firebreak-deep-') : ''
let host: WatchedHost

/** Runs a program to its end. */
async function ran(file: string, args: readonly (string | Buffer)[] = []): Promise<number> {
  const child = spawn(file, args as string[], { cwd: host.folder, stdio: 'ignore' })
  await once(child, 'exit')
  return child.pid ?? 0
}

describe.skipIf(why)(`names and command lines of any kind over the sensor${why ? ` (skipped: ${why})` : ''}`, () => {
  beforeAll(async () => {
    host = await new WatchedHost({ watched: [deep] }).start()
  })
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]()
    if (deep !== '') execFileSync('rm', ['-rf', deep])
  })

  it('keeps names of any bytes: newlines as they are, what is no UTF-8 as escapes', async () => {
    const program = join(host.folder, 'a\nb')
    copyFileSync('/bin/true', program)
    execFileSync('chmod', ['755', program])
    const bytes = Buffer.from([0x66, 0xff, 0xfe, 0x67])
    writeFileSync(
      join(host.folder, 'run'),
      Buffer.concat([Buffer.from(`#!/bin/sh\nexec "./a\nb" '`), bytes, Buffer.from(`' 'x\ny'\n`)]),
    )
    const pid = await ran('/bin/sh', ['run'])
    await host.action(pid, 'process-ended')
    const exec = host.of(pid, 'exec').at(-1)
    expect(exec?.process).toMatchObject({
      executable: realpathSync(program),
      name: 'a\nb',
      args: ['./a\nb', 'f\\xff\\xfeg', 'x\ny'],
    })
  })

  it('tells a command line of a megabyte with its whole length, and its digest while the process lives', async () => {
    const args = ['-c', 'sleep 2', ...Array.from({ length: 10 }, (_, n) => String(n).repeat(110_000))]
    const child = spawn('/bin/sh', args, { stdio: 'ignore' })
    const whole = ['/bin/sh', ...args].join(' ')
    const started = await host.action(child.pid ?? 0, 'process-started')
    child.kill()
    expect(started.process?.args_count).toBe(args.length + 1)
    expect(started.process?.command_line).toBe(whole.slice(0, 32_768))
    expect(started.firebreak?.truncated?.find(({ field }) => field === 'process.command_line')).toEqual({
      field: 'process.command_line',
      bytes: whole.length,
      sha256: createHash('sha256').update(whole).digest('hex'),
    })
  })

  it('tells the length of a command line whose process is gone', async () => {
    const args = Array.from({ length: 10 }, (_, n) => String(n).repeat(110_000))
    const pid = await ran('/bin/true', args)
    const started = await host.action(pid, 'process-started')
    const cut = started.firebreak?.truncated?.find(({ field }) => field === 'process.command_line')
    expect(cut?.bytes).toBeGreaterThanOrEqual(['/bin/true', ...args].join(' ').length)
    expect(started.process?.args_count).toBe(11)
  })

  it('keeps arguments that are empty, and what a program writes over its own command line changes nothing', async () => {
    const pid = await ran('perl', [
      '-e',
      String.raw`$0 = "innocent\0\0kworker"; select undef, undef, undef, 0.3`,
      '',
      '',
    ])
    const started = await host.action(pid, 'process-started')
    expect(started.process).toMatchObject({
      args_count: 5,
      name: 'perl',
      args: ['perl', '-e', expect.any(String), '', ''],
    })
    await host.action(pid, 'process-ended')
    for (const { process } of host.of(pid)) expect(process?.name).toBe('perl')
  })

  it('keeps names of files of any bytes', async () => {
    const name = String.raw`a\nb\xff\x80`
    const pid = await ran('perl', [
      '-e',
      `$n = "${name}"; open F, '>', $n; print F 'x'; close F; rename $n, "$n.2"; unlink "$n.2"`,
    ])
    // A written file is read for its digest before it is told: it may come last.
    for (const last of ['file-deleted', 'file-written']) await host.action(pid, last)
    const told = host.emit.events.filter(({ file, process }) => file !== undefined && process?.pid === pid)
    const path = join(realpathSync(host.folder), 'a\nb\\xff\\x80')
    expect(told.map(({ event, file }) => `${event.action} ${file?.path}`).toSorted()).toEqual([
      `file-created ${path}`,
      `file-deleted ${path}.2`,
      `file-renamed ${path}.2`,
      `file-written ${path}`,
    ])
  })

  it('keeps names that are asked for of any bytes: zeros, newlines, no UTF-8', async () => {
    const server = createSocket('udp4').on('message', (asked, from) => {
      server.send(
        Buffer.concat([asked.subarray(0, 2), Buffer.of(0x81, 0x83), asked.subarray(4)]),
        from.port,
        from.address,
      )
    })
    await new Promise<void>((resolve) => server.bind(53, '127.53.0.1', resolve))
    try {
      const question = String.raw`pack('n6', 7, 256, 1, 0, 0, 0) . "\4a\0b\n" . "\2\xffc\0" . pack('n2', 1, 1)`
      const pid = await ran('perl', [
        '-MSocket',
        '-e',
        `socket S, PF_INET, SOCK_DGRAM, 0; send S, ${question}, 0, sockaddr_in(53, inet_aton('127.53.0.1')); recv S, $a, 512, 0`,
      ])
      const asked = await host.find('the question', ({ dns, process }) => dns !== undefined && process?.pid === pid)
      expect(asked).toMatchObject({
        event: { action: 'dns-lookup', outcome: 'failure' },
        dns: { question: { name: 'a\0b\n.\\xffc', type: 'A' }, response_code: 'NXDOMAIN' },
        destination: { ip: '127.53.0.1', port: 53 },
      })
    } finally {
      server.close()
    }
  })

  it('tells what is 4,096 folders deep: who works there, and what becomes of files, with the last part of the path', async () => {
    const home = process.cwd()
    process.chdir(deep)
    let pid: number
    try {
      for (let n = 0; n < 4_096; n++) {
        mkdirSync('d')
        process.chdir('d')
      }
      const child = spawn('perl', ['-e', `open F, '>', 'bottom'; print F 'x'; close F; unlink 'bottom'; exec 'true'`])
      pid = child.pid ?? 0
      await once(child, 'exit')
    } finally {
      process.chdir(home)
    }
    const exec = await host.action(pid, 'exec')
    expect(exec.process?.working_directory).toMatch(/^d\/d\/.*\/d$/)
    expect(exec.firebreak?.truncated?.map(({ field }) => field)).toContain('process.working_directory')
    for (const action of ['file-created', 'file-written', 'file-deleted']) {
      const { file, firebreak } = await host.action(pid, action)
      expect(file?.path, action).toMatch(/^d\/d\/.*d\/bottom$/)
      expect(firebreak?.truncated, action).toEqual([{ field: 'file.path', bytes: file?.path?.length }])
    }
  })
})
