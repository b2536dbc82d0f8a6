import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { PackageOwners } from './executable-facts.ts'
import { createPackageOwners } from './package-owners.ts'

const md5 = (text: string) => createHash('md5').update(text).digest('hex')
const digests = (text: string) => ({ md5: md5(text), sha256: createHash('sha256').update(text).digest('hex') })
let root: string
let info: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'owners-'))
  info = join(root, 'var/lib/dpkg/info')
  mkdirSync(info, { recursive: true })
  writeFileSync(
    join(root, 'var/lib/dpkg/status'),
    'Package: coreutils\nVersion: 9.1-1\n\nPackage: libc6\nVersion: 2.36-9\n\nPackage: mawk\nVersion: 1.3\n',
  )
  writeFileSync(join(info, 'coreutils.list'), '/.\n/bin\n/bin/ls\n/usr/bin/env\n')
  writeFileSync(join(info, 'coreutils.md5sums'), `${md5('ls')}  bin/ls\n${md5('env')}  usr/bin/env\n`)
  writeFileSync(join(info, 'libc6:amd64.list'), '/.\n/lib/ld.so\n')
  writeFileSync(join(info, 'libc6:amd64.md5sums'), `${md5('ld')}  lib/ld.so\n`)
  writeFileSync(join(info, 'mawk.list'), '/etc/mawk.conf\n')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const ask = (path: string, content: string, owners: PackageOwners = createPackageOwners(root)) =>
  owners.of(path, digests(content))

describe('the package of a file', () => {
  it('is the one that lists it, with its version, and the file is as it was shipped', async () => {
    const coreutils = { name: 'coreutils', version: '9.1-1', type: 'deb', status: 'intact' }
    expect(await ask('/usr/bin/env', 'env')).toEqual(coreutils)
    expect(await ask('/lib/ld.so', 'ld')).toMatchObject({ name: 'libc6', version: '2.36-9', status: 'intact' })
  })

  it('is found under the name of before /bin and /usr/bin became one', async () => {
    expect(await ask('/usr/bin/ls', 'ls')).toMatchObject({ name: 'coreutils', status: 'intact' })
  })

  it('shipped something else when the content is another', async () => {
    expect(await ask('/usr/bin/env', 'trojan')).toMatchObject({ name: 'coreutils', status: 'modified' })
  })

  it('is nobody for what was put there by hand', async () => {
    expect(await ask('/usr/local/bin/tool', 'x')).toEqual({ status: 'unowned' })
  })

  it('does not say whether a file is as shipped when it ships no digest of it', async () => {
    expect(await ask('/etc/mawk.conf', 'x')).toMatchObject({ name: 'mawk', status: 'unknown' })
  })

  it('is found for a file that another package put aside', async () => {
    writeFileSync(join(root, 'var/lib/dpkg/diversions'), '/usr/bin/env\n/usr/bin/env.real\nother\n')
    expect(await ask('/usr/bin/env.real', 'env')).toMatchObject({ name: 'coreutils', status: 'intact' })
  })

  it('is known as soon as it is installed', async () => {
    const owners = createPackageOwners(root)
    expect(await ask('/usr/bin/new', 'new', owners)).toEqual({ status: 'unowned' })
    writeFileSync(join(info, 'newcomer.list'), '/usr/bin/new\n')
    utimesSync(info, new Date(), new Date(Date.now() + 5_000))
    expect(await ask('/usr/bin/new', 'new', owners)).toMatchObject({ name: 'newcomer' })
  })

  it('cannot be told where no package manager keeps a list', async () => {
    const empty = createPackageOwners(join(root, 'nowhere'))
    expect(await ask('/usr/bin/env', 'env', empty)).toEqual({ status: 'unknown' })
  })
})
