import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findProgram } from '../../platform/linux/program.ts'
import { FakeProcfs } from '../procfs.fake.ts'
import { apkSource } from './apk.ts'
import { dpkgSource } from './dpkg.ts'
import { npmSource } from './npm.ts'
import { pythonSource } from './python-sites.ts'
import { rpmSource } from './rpm.ts'
import { parseRpmHeader } from './rpm-header.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())

it('leaves out of dpkg what is not installed, and tells entries that are none', async () => {
  host.write(
    'var/lib/dpkg/status',
    [
      'Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n Version: 9\n',
      'Package: a\nStatus: install ok installed\nArchitecture: i386\nVersion: 1:2-3\n',
      'Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n',
      'Package: half\nStatus: install ok installed\n',
      'Nonsense',
    ].join('\n'),
  )
  const { items, troubles } = await dpkgSource(host, 100).read()
  expect(items.map(({ facts }) => facts)).toEqual([
    { type: 'deb', name: 'a', version: '1:2-3', architecture: 'amd64' },
    { type: 'deb', name: 'a', version: '1:2-3', architecture: 'i386' },
  ])
  expect(troubles).toEqual(['2 entries of /var/lib/dpkg/status have no name or version'])
})

it('does not hang on a FIFO in place of the data base', async () => {
  mkdirSync(join(host.root, 'var/lib/dpkg'), { recursive: true })
  execFileSync('mkfifo', [join(host.root, 'var/lib/dpkg/status')])
  expect(await dpkgSource(host, 100).read()).toMatchObject({
    items: [],
    troubles: [expect.stringMatching(/no regular file/)],
  })
})

it('reads what apk installed', async () => {
  host.write(
    'lib/apk/db/installed',
    'C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl\nF:lib\nR:libc.so\n\nP:busybox\nV:1.36.1-r5\nA:x86_64\n\n',
  )
  const { items, troubles } = await apkSource(host, 100).read()
  expect(items.map(({ label }) => label)).toEqual(['musl 1.2.4-r2', 'busybox 1.36.1-r5'])
  expect(troubles).toEqual([])
})

describe('npm', () => {
  const sites = ['/usr/lib/node_modules', '/srv/*/node_modules']
  it('is read by the list that npm keeps, nested packages as well', async () => {
    host.write(
      'srv/app/node_modules/.package-lock.json',
      JSON.stringify({
        packages: {
          'node_modules/a': { version: '1.0.0' },
          'node_modules/@s/b': { version: '2.0.0' },
          'node_modules/a/node_modules/c': { version: '3.0.0' },
        },
      }),
    )
    const { items } = await npmSource(host, sites, 100).read()
    expect(items.map(({ facts }) => [facts['name'], facts['version'], facts['path']])).toEqual([
      ['a', '1.0.0', '/srv/app/node_modules/a'],
      ['@s/b', '2.0.0', '/srv/app/node_modules/@s/b'],
      ['c', '3.0.0', '/srv/app/node_modules/a/node_modules/c'],
    ])
  })

  it('is read package by package where there is no list, and tells what is none', async () => {
    host.write('usr/lib/node_modules/npm/package.json', '{"name":"npm","version":"11.0.0"}')
    host.write('usr/lib/node_modules/@scope/x/package.json', '{"name":"@scope/x","version":"0.1.0"}')
    host.write('usr/lib/node_modules/broken/package.json', '{"name":')
    mkdirSync(join(host.root, 'usr/lib/node_modules/.bin'))
    const { items, troubles } = await npmSource(host, sites, 100).read()
    expect(items.map(({ label }) => label)).toEqual(['@scope/x 0.1.0', 'npm 11.0.0'])
    expect(troubles).toEqual(['/usr/lib/node_modules/broken has no name and version'])
  })

  it.skipIf(findProgram('npm') === undefined)('agrees with npm ls', async () => {
    const project = join(host.root, 'srv/app')
    mkdirSync(join(project, 'lib/one'), { recursive: true })
    writeFileSync(
      join(project, 'package.json'),
      '{"name":"app","version":"1.0.0","dependencies":{"one":"file:lib/one"}}',
    )
    writeFileSync(join(project, 'lib/one/package.json'), '{"name":"one","version":"4.5.6"}')
    execFileSync('npm', ['install', '--offline', '--install-links', '--no-audit', '--no-fund'], {
      cwd: project,
      stdio: 'ignore',
    })
    const { items } = await npmSource(host, sites, 100).read()
    expect(items.map(({ label }) => label)).toEqual(['one 4.5.6'])
  })
})

it('reads what pip and older tools installed', async () => {
  const site = 'usr/lib/python3/dist-packages'
  host.write(
    `${site}/requests-2.28.1.dist-info/METADATA`,
    'Metadata-Version: 2.1\nName: requests\nVersion: 2.28.1\n\nName: not this\nVersion: 9\n',
  )
  host.write(`${site}/six-1.16.0.egg-info/PKG-INFO`, 'Metadata-Version: 1.2\r\nName: six\r\nVersion: 1.16.0\r\n')
  host.write(`${site}/old.egg-info`, 'Metadata-Version: 1.0\nName: old\nVersion: 0.1\n')
  host.write(`${site}/bad.dist-info/METADATA`, 'nonsense')
  const { items, troubles } = await pythonSource(host, ['/usr/lib/python3/dist-packages'], 100).read()
  expect(items.map(({ facts }) => [facts['name'], facts['version'], facts['path']])).toEqual([
    ['old', '0.1', '/usr/lib/python3'],
    ['requests', '2.28.1', '/usr/lib/python3/dist-packages'],
    ['six', '1.16.0', '/usr/lib/python3/dist-packages'],
  ])
  expect(troubles).toEqual([expect.stringContaining('bad.dist-info')])
})

describe('rpm', () => {
  it.skipIf(findProgram('rpm') === undefined || findProgram('rpmbuild') === undefined)(
    'is read from the data base that rpm itself made, without rpm',
    async () => {
      const spec = join(host.folder, 'x.spec')
      const one = (name: string, epoch: string) =>
        `Name: ${name}\nVersion: 1.2.3\nRelease: 4%{?dist}\n${epoch}Summary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n`
      const top = join(host.folder, 'rpmbuild')
      for (const [name, epoch] of [
        ['alpha', ''],
        ['beta', 'Epoch: 2\n'],
      ] as const) {
        writeFileSync(spec, one(name, epoch))
        execFileSync('rpmbuild', ['-bb', '--quiet', '--define', `_topdir ${top}`, spec], { stdio: 'ignore' })
      }
      const database = join(host.root, 'usr/lib/sysimage/rpm')
      mkdirSync(database, { recursive: true })
      execFileSync(
        'rpm',
        [
          '--dbpath',
          database,
          '--nodeps',
          '--force-debian',
          '--justdb',
          '-i',
          `${top}/RPMS/noarch/alpha-1.2.3-4.noarch.rpm`,
          `${top}/RPMS/noarch/beta-1.2.3-4.noarch.rpm`,
        ],
        { stdio: 'ignore' },
      )
      expect(existsSync(join(database, 'rpmdb.sqlite'))).toBe(true)
      const { items, troubles } = await rpmSource(host, 100).read()
      expect(troubles).toEqual([])
      const shown = execFileSync(
        'rpm',
        ['--dbpath', database, '-qa', '--qf', '%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\\n'],
        { encoding: 'utf8' },
      )
      expect(
        items
          .map(
            ({ facts }) =>
              `${String(facts['name'])} ${String(facts['version']).replace(/^\d+:/, '')} ${String(facts['architecture'])}`,
          )
          .toSorted(),
      ).toEqual(shown.trim().split('\n').toSorted())
      expect(items.find(({ facts }) => facts['name'] === 'beta')?.facts['version']).toBe('2:1.2.3-4')
    },
  )

  it('says so when the data base is none', async () => {
    host.write('var/lib/rpm/rpmdb.sqlite', 'nonsense')
    expect(await rpmSource(host, 100).read()).toMatchObject({
      items: [],
      troubles: [expect.stringContaining('rpmdb.sqlite')],
    })
  })

  it('refuses headers that lie about their lengths', () => {
    const header = Buffer.alloc(64)
    for (const [entries, bytes] of [
      [0xffffffff, 0],
      [1, 0xffffffff],
      [3, 8],
    ] as const) {
      header.writeUInt32BE(entries, 0)
      header.writeUInt32BE(bytes, 4)
      expect(parseRpmHeader(header)).toBeUndefined()
    }
    expect(parseRpmHeader(Buffer.alloc(4))).toBeUndefined()
  })
})
