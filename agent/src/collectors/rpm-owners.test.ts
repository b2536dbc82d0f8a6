import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noSensor } from './kernel/sensor.fixture.ts'
import { WatchedHost } from './kernel/watched-host.fixture.ts'
import { createPackageOwners } from './package-owners.ts'

/** A program of this machine in a package for any machine. */
const PROGRAMS_ARE_FILES = ['--define', '_binaries_in_noarch_packages_terminate_build 0']
const DATABASE = '/var/lib/rpm'

function noRpm(): string | undefined {
  if (process.getuid?.() !== 0) return 'another root needs root'
  return spawnSync('rpmbuild', ['--version']).status === 0
    ? undefined
    : 'rpmbuild is not installed (Debian package rpm)'
}

const why = noRpm()
let folder: string
let root: string
/** A program that really runs; a package owns its path. */
let program: string

/** Builds a package of these files, path → content, with rpmbuild, and installs it below `root`. */
function install(name: string, version: string, files: Readonly<Record<string, Buffer | string>>): void {
  const sources = join(folder, `${name}-files`)
  const steps: string[] = []
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(sources, path)), { recursive: true })
    writeFileSync(join(sources, path), content, { mode: 0o755 })
    steps.push(`mkdir -p %{buildroot}${dirname(path)}`, `cp -p ${join(sources, path)} %{buildroot}${path}`)
  }
  const spec = join(folder, `${name}.spec`)
  const [epoch, number, release] = version.split(/[:-]/)
  writeFileSync(
    spec,
    `Name: ${name}\nEpoch: ${epoch}\nVersion: ${number}\nRelease: ${release}\nSummary: test\nLicense: none\nBuildArch: noarch\n` +
      `AutoReqProv: no\n%global __os_install_post %{nil}\n%description\nOf a test.\n%install\n${steps.join('\n')}\n%files\n${Object.keys(files).join('\n')}\n`,
  )
  const top = join(folder, 'top')
  execFileSync('rpmbuild', ['-bb', '--quiet', '--define', `_topdir ${top}`, ...PROGRAMS_ARE_FILES, spec], {
    stdio: 'pipe',
  })
  const built = join(top, 'RPMS/noarch', `${name}-${number}-${release}.noarch.rpm`)
  const options = ['--root', root, '--dbpath', DATABASE, '--force-debian', '--nodeps', '--noscripts']
  execFileSync('rpm', [...options, '--install', built], { stdio: 'pipe' })
}

const digestsOf = (content: Buffer | string) => ({
  md5: createHash('md5').update(content).digest('hex'),
  sha256: createHash('sha256').update(content).digest('hex'),
})

describe.skipIf(why)(`a host of rpm packages${why ? ` (skipped: ${why})` : ''}`, () => {
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'rpm-owners-')))
    root = join(folder, 'root')
    program = join(folder, 'bin/tool')
    for (const path of [join(root, 'usr/bin'), dirname(program)]) mkdirSync(path, { recursive: true })
    symlinkSync('usr/bin', join(root, 'bin'))
    copyFileSync('/bin/true', program)
    execFileSync('rpm', ['--root', root, '--dbpath', DATABASE, '--initdb'])
    install('tool', '2:1.4-3', {
      [program]: readFileSync('/bin/true'),
      '/usr/bin/shipped': 'as shipped',
      '/bin/old': 'old',
    })
  }, 30_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const ask = (path: string, content: string) => createPackageOwners(root).of(path, digestsOf(content))

  it('knows the package of a file with its version, and whether the file is as shipped', async () => {
    const tool = { name: 'tool', version: '2:1.4-3', type: 'rpm' }
    expect(await ask('/usr/bin/shipped', 'as shipped')).toEqual({ ...tool, status: 'intact' })
    expect(await ask('/usr/bin/shipped', 'trojan')).toEqual({ ...tool, status: 'modified' })
  })

  it('knows a file that its package lists by the name of before /bin and /usr/bin became one', async () => {
    expect(await ask('/usr/bin/old', 'old')).toMatchObject({ name: 'tool', status: 'intact' })
  })

  it('says of what was put there by hand that nobody owns it, and claims nothing without a database', async () => {
    writeFileSync(join(root, 'usr/bin/mine'), 'x')
    expect(await ask('/usr/bin/mine', 'x')).toEqual({ status: 'unowned' })
    const broken = join(folder, 'broken')
    mkdirSync(join(broken, DATABASE), { recursive: true })
    writeFileSync(join(broken, DATABASE, 'rpmdb.sqlite'), 'this is no database')
    expect(await createPackageOwners(broken).of('/usr/bin/mine', digestsOf('x'))).toEqual({ status: 'unknown' })
  })

  const unseen = noSensor()
  it.skipIf(unseen)('tells with the program that was started which package it is of', { timeout: 40_000 }, async () => {
    await using host = await new WatchedHost({ root }).start()
    const run = async () => {
      const child = spawn(program, { stdio: 'ignore' })
      await once(child, 'exit')
      const { process, firebreak } = await host.find(
        'what the program is',
        (event) => event.process?.pid === child.pid && event.firebreak?.executable?.package !== undefined,
      )
      return { sha256: process?.hash?.sha256, ...firebreak?.executable?.package }
    }
    const tool = { name: 'tool', version: '2:1.4-3', type: 'rpm' }
    const shipped = readFileSync(program)
    expect(await run()).toEqual({ ...tool, status: 'intact', sha256: digestsOf(shipped).sha256 })
    const trojan = Buffer.concat([shipped, Buffer.from('x')])
    writeFileSync(program, trojan)
    expect(await run()).toEqual({ ...tool, status: 'modified', sha256: digestsOf(trojan).sha256 })
  })
})
