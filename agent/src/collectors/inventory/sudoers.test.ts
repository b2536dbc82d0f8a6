import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeProcfs } from '../procfs.fake.ts'
import { sudoersSource } from './sudoers.ts'
import { parseSudoersLine } from './sudoers-line.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())
const read = () => sudoersSource(host, 100).read()
const labels = async () => (await read()).items.map(({ label }) => label)

describe('a line of sudoers', () => {
  const rules = (line: string) => {
    const parsed = parseSudoersLine(line)
    return parsed !== undefined && parsed !== 'malformed' && parsed.what === 'rules' ? parsed.rules : parsed
  }
  it.each([
    ['root\tALL=(ALL:ALL) ALL', [['root', 'ALL', 'ALL:ALL', [], 'ALL']]],
    [
      'alice ALL=(root) NOPASSWD: /bin/a x, PASSWD: /bin/b',
      [
        ['alice', 'ALL', 'root', ['NOPASSWD'], '/bin/a x'],
        ['alice', 'ALL', 'root', ['PASSWD'], '/bin/b'],
      ],
    ],
    ['#1000 ALL = /bin/ls # why', [['#1000', 'ALL', 'root', [], '/bin/ls']]],
    [
      'bob web1, web2 = (www) CWD=/tmp NOPASSWD:SETENV: /bin/x a\\:b, !/bin/sh : db1 = /bin/ls',
      [
        ['bob', 'web1, web2', 'www', ['NOPASSWD', 'SETENV'], '/bin/x a\\:b'],
        ['bob', 'web1, web2', 'www', ['NOPASSWD', 'SETENV'], '!/bin/sh'],
        ['bob', 'db1', 'root', [], '/bin/ls'],
      ],
    ],
    ['"DOM\\\\Domain Admins" ALL=(ALL) ALL', [['DOM\\Domain Admins', 'ALL', 'ALL', [], 'ALL']]],
    ['eve ALL=(ALL) NOPASSWD: sha256:abc= /bin/ls', [['eve', 'ALL', 'ALL', ['NOPASSWD'], 'sha256:abc= /bin/ls']]],
  ])('says who may do what: %s', (line, expected) => {
    expect(rules(line)).toEqual(
      expected.map(([who, hosts, runAs, tags, command]) => ({ who, hosts, runAs, tags, command })),
    )
  })

  it.each(['', '# a comment', 'Defaults env_reset', 'Defaults:alice !lecture'])('may say nothing: %s', (line) => {
    expect(parseSudoersLine(line)).toBeUndefined()
  })

  it.each(['nonsense', 'alice ALL=(ALL)', 'User_Alias lower = x', '= ALL'])('may be none: %s', (line) => {
    expect(parseSudoersLine(line)).toBe('malformed')
  })

  it('of hostile length is read in no time', () => {
    const startedMs = performance.now()
    for (const line of [
      `a${' '.repeat(60_000)}b`,
      `a${' ,'.repeat(30_000)}=x`,
      '('.repeat(60_000),
      `${'a '.repeat(30_000)}= x`,
    ])
      parseSudoersLine(line)
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })
})

it('follows includes, aliases and lines that go on, as sudo does', async () => {
  host.write(
    'etc/sudoers',
    'User_Alias ADMINS = alice, \\\n  bob\nCmnd_Alias SHELLS = /bin/sh, /bin/bash\nADMINS ALL = NOPASSWD: SHELLS, !/bin/zsh\n@includedir /etc/sudoers.d\n#include more\n',
  )
  host.write('etc/sudoers.d/10-carol', 'carol ALL=(ALL) ALL\n')
  host.write('etc/sudoers.d/20-off.disabled', 'mallory ALL=(ALL) ALL\n')
  host.write('etc/sudoers.d/30-old~', 'mallory ALL=(ALL) ALL\n')
  host.write('etc/more', 'dave ALL=(www, db : adm) ALL\n')
  const { items, troubles } = await read()
  expect(troubles).toEqual([])
  expect(items.at(-1)?.facts).toMatchObject({ run_as: ['www', 'db'], run_as_groups: ['adm'] })
  expect(items.map(({ facts }) => [facts['users'], facts['commands'], facts['no_password'], facts['file']])).toEqual([
    [['alice', 'bob'], ['/bin/sh', '/bin/bash'], true, '/etc/sudoers'],
    [['alice', 'bob'], ['!/bin/zsh'], true, '/etc/sudoers'],
    [['carol'], ['ALL'], false, '/etc/sudoers.d/10-carol'],
    [['dave'], ['ALL'], false, '/etc/more'],
  ])
})

it('ends at includes that include each other, and tells the rest', async () => {
  host.write('etc/sudoers', 'root ALL=(ALL) ALL\n@include /etc/a\n')
  host.write('etc/a', '@include /etc/sudoers\nalice ALL=(ALL) ALL\n')
  mkdirSync(join(host.root, 'etc/sudoers.d'))
  symlinkSync('.', join(host.root, 'etc/sudoers.d/loop'))
  expect(await labels()).toEqual(['root ALL=(ALL) ALL', 'alice ALL=(ALL) ALL'])
  expect((await read()).troubles).toEqual(['/etc/sudoers includes itself'])
})

it('stops at aliases that stand for themselves', async () => {
  host.write('etc/sudoers', 'User_Alias A = B\nUser_Alias B = A, A\nA ALL=(ALL) ALL\n')
  const [item] = (await read()).items
  expect(Array.isArray(item?.facts['users']) && item.facts['users'].length <= 64).toBe(true)
})
