import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVERYTHING, noSensor, type RunningSensor, startSensor } from '../src/collectors/kernel/sensor.fixture.ts'
import type { SensorText } from '../src/collectors/kernel/record-reader.ts'
import type { SensorFile } from '../src/collectors/kernel/sensor-records.ts'
import { buildStorm } from './testing/build-storm.ts'

const text = ({ bytes }: SensorText) => Buffer.from(bytes).toString('latin1')
const why = noSensor()

describe.skipIf(why)(`the kernel sensor on files${why ? ` (skipped: ${why})` : ''}`, () => {
  let sensor: RunningSensor
  let root: string
  let watched: string
  const onlyFiles = { ...EVERYTHING.switches, process: false, network: false, dns: false, kernelCalls: false }
  beforeAll(async () => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'firebreak-files-')))
    watched = join(root, 'watched')
    mkdirSync(watched)
    sensor = await startSensor({ switches: onlyFiles, paths: [Buffer.from(watched)] })
  }, 30_000)
  afterAll(async () => {
    await sensor?.[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
  })

  /** What the sensor told of this folder while `act` ran: kind and paths. */
  async function during(act: () => unknown): Promise<readonly SensorFile[]> {
    const before = await sensor.settled()
    const from = sensor.records.length
    await act()
    const dropped = (await sensor.settled()).classes.file.dropped - before.classes.file.dropped
    if (dropped > 0) throw new Error(`so busy a machine that ${dropped} records were dropped and counted`)
    return sensor.records
      .slice(from)
      .filter((one): one is SensorFile => 'class' in one && one.class === 'file')
      .filter(({ path, otherPath }) => text(path).startsWith(root) || text(otherPath).startsWith(root))
  }
  const brief = (records: readonly SensorFile[]) =>
    records.map(({ kind, path, otherPath }) =>
      [kind, text(path).slice(root.length), text(otherPath).replace(root, '')].filter(Boolean).join(' '),
    )
  const shell = (script: string, cwd = watched) => execFileSync('sh', ['-c', script], { cwd })

  it('tells what becomes of a file: made, written, renamed, linked, removed', async () => {
    const told = await during(() => shell('echo hello > a; mv a b; ln b c; ln -s b d; rm b c d; mkdir e; rmdir e'))
    expect(brief(told)).toEqual([
      'file-create /watched/a',
      'file-write /watched/a',
      'file-rename /watched/a /watched/b',
      'file-link /watched/b /watched/c',
      'file-symlink /watched/d b',
      'file-unlink /watched/b',
      'file-unlink /watched/c',
      'file-unlink /watched/d',
      'file-mkdir /watched/e',
      'file-rmdir /watched/e',
    ])
    expect(told[1]).toMatchObject({ size: 6, links: 1, isSpelled: false })
    expect(told[1]?.actor?.ppid).toBe(process.pid)
  })

  it('tells a write once, when the file is closed, and none when it was only opened', async () => {
    const file = join(watched, 'once')
    writeFileSync(file, 'x')
    await new Promise((resolve) => setTimeout(resolve, 60))
    const told = await during(() => {
      closeSync(openSync(file, 'r+'))
      const fd = openSync(file, 'a')
      for (let n = 0; n < 50; n++) writeSync(fd, 'more')
      closeSync(fd)
    })
    expect(brief(told)).toEqual(['file-write /watched/once'])
    expect(told[0]?.size).toBe(201)
  })

  it('tells a write of a program that ended without closing, also through an inherited descriptor', async () => {
    const told = await during(() => {
      shell('exec 7>>inherited; (echo child >&7)')
      spawnSync('perl', ['-e', `open F, '>>', '${watched}/unclosed'; syswrite F, 'x'; kill 9, $$`])
    })
    expect(brief(told)).toEqual([
      'file-create /watched/inherited',
      'file-write /watched/inherited',
      'file-create /watched/unclosed',
      'file-write /watched/unclosed',
    ])
  })

  it('tells nothing outside of the watched paths, and what moves in or out', async () => {
    const told = await during(() =>
      shell('echo x > out; cat out > /dev/null; mv out watched/in; mv watched/in away; rm away', root),
    )
    expect(brief(told)).toEqual(['file-rename /out /watched/in', 'file-rename /watched/in /away'])
  })

  it('knows a watched folder however it is spelled', async () => {
    symlinkSync(watched, join(root, 'alias'))
    mkdirSync(join(watched, 'deep'))
    const told = await during(() => {
      shell(`touch ${root}/./watched/../watched//one; rm ../watched/deep/../one`)
      shell('echo x > alias/two', root)
      shell(`rm /proc/self/cwd/two`)
      shell('rm deep/../deep/none 2>/dev/null; rm -f ../elsewhere; mkdir ../elsewhere; rmdir ../elsewhere')
    })
    expect(brief(told)).toEqual([
      'file-create /watched/one',
      'file-unlink /watched/one',
      'file-create /watched/two',
      'file-write /watched/two',
    ])
    const viaProc = sensor.of('file-unlink').filter(({ path }) => text(path).startsWith('/proc/'))
    expect(viaProc.map(({ path }) => text(path))).toContain('/proc/self/cwd/two')
  })

  it('keeps the bytes of names: newlines and invalid UTF-8', async () => {
    const told = await during(() => {
      spawnSync('perl', ['-e', `chdir '${watched}'; $n = "a\\nb\\xff\\x80"; open F, '>', $n; close F; unlink $n`])
    })
    const name = '/watched/a\nb\xff\x80'
    expect(brief(told)).toEqual([`file-create ${name}`, `file-unlink ${name}`])
  })

  it('tells a file 4,096 folders below a watched one, with the last part of its path', async () => {
    const deep = mkdtempSync('/dev/shm/firebreak-deep-')
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched), Buffer.from(deep)] })
    try {
      const before = await sensor.settled()
      const from = sensor.records.length
      const program = `chdir '${deep}'; for (0..4095) { mkdir 'd'; chdir 'd' } open F, '>', 'bottom'; close F; sleep 1; unlink 'bottom'`
      const perl = spawn('perl', ['-e', program])
      await once(perl, 'exit')
      const after = await sensor.settled()
      const told = sensor.records
        .slice(from)
        .filter((one): one is SensorFile => 'class' in one && one.class === 'file' && one.actor?.pid === perl.pid)
      // A record of them has up to 4 KiB: what a busy machine did not take out of the ring in time is counted.
      expect(told.length + after.classes.file.dropped - before.classes.file.dropped).toBe(4_096 + 2)
      expect(told.at(-1)?.kind).toBe('file-unlink')
      expect(text(told.at(-1)?.path as SensorText)).toMatch(/^d\/d\/.*d\/bottom$/)
      expect(told.at(-1)?.path.total).toBeUndefined()
    } finally {
      execFileSync('rm', ['-rf', deep])
      await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched)] })
    }
  }, 60_000)

  it('tells modes, owners and set-user-id bits, the last anywhere on the host', async () => {
    writeFileSync(join(watched, 'mode'), '')
    writeFileSync(join(root, 'elsewhere-file'), '')
    const told = await during(() =>
      shell('chmod 750 mode; chown 12:34 mode; chmod 600 ../elsewhere-file; chmod 4711 ../elsewhere-file'),
    )
    expect(brief(told)).toEqual(['file-chmod /watched/mode', 'file-chown /watched/mode', 'file-chmod /elsewhere-file'])
    expect(told[0]).toMatchObject({ setuidBits: false })
    expect((told[0]?.mode ?? 0) & 0o7777).toBe(0o750)
    expect(told[1]).toMatchObject({ ownerUid: 12, ownerGid: 34 })
    expect(told[2]).toMatchObject({ setuidBits: true })
  })

  it('follows a watched path that is not there yet, or is replaced by another folder', async () => {
    const later = join(root, 'later')
    const configured = await sensor.configure({
      switches: onlyFiles,
      paths: [Buffer.from(watched), Buffer.from(later)],
    })
    expect(configured.paths.map(({ error }) => error)).toEqual([0, 2])
    mkdirSync(later)
    await sensor.settled()
    expect(brief(await during(() => writeFileSync(join(later, 'first'), 'x')))).toEqual([
      'file-create /later/first',
      'file-write /later/first',
    ])
    rmSync(later, { recursive: true })
    mkdirSync(later)
    await sensor.settled()
    expect(brief(await during(() => writeFileSync(join(later, 'second'), 'x')))).toEqual([
      'file-create /later/second',
      'file-write /later/second',
    ])
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched)] })
  })

  it('goes on with a watched file that was replaced by another, at once', async () => {
    const file = join(root, 'replaced')
    writeFileSync(file, 'old')
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(file)], statsIntervalMs: 60_000 })
    const from = sensor.records.length
    writeFileSync(join(root, 'new'), 'new')
    renameSync(join(root, 'new'), file)
    const renamed = await sensor.next('file-rename', ({ otherPath }) => text(otherPath) === file, from)
    await sensor.next('stats', () => true, sensor.records.indexOf(renamed))
    writeFileSync(file, 'newer')
    await sensor.next('file-write', ({ path }) => text(path) === file, from)
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched)] })
  })

  it('tells nothing of the process it is told to leave out', async () => {
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched)], excludedPid: process.pid })
    const told = await during(() => {
      writeFileSync(join(watched, 'mine'), 'x')
      shell('echo y > theirs')
    })
    expect(brief(told)).toEqual(['file-create /watched/theirs', 'file-write /watched/theirs'])
    await sensor.configure({ switches: onlyFiles, paths: [Buffer.from(watched)] })
  })

  it('loses none of 3,000 files written one after the other', async () => {
    const told = await during(async () => {
      await once(
        spawn(
          'sh',
          ['-c', `for n in $(seq 1500); do echo x > n$n; done; for n in $(seq 1500); do echo y > n$n; done`],
          { cwd: watched },
        ),
        'exit',
      )
    })
    expect(told.filter(({ kind }) => kind === 'file-create').length).toBe(1_500)
    expect(told.filter(({ kind }) => kind === 'file-write').length).toBe(3_000)
  }, 60_000)

  it('costs a program that opens other files little: the load program sees its file told only where it is watched', async () => {
    const told = await during(() => {
      spawnSync(buildStorm(), ['write', '20', join(root, 'unwatched')])
      spawnSync(buildStorm(), ['write', '20', join(watched, 'storm')])
    })
    expect(told.filter(({ kind }) => kind === 'file-write').length).toBe(20)
  })
})
