import { afterEach, beforeEach, expect, it } from 'vitest'
import { FakeProcfs } from '../procfs.fake.ts'
import { groupsSource } from './groups.ts'
import { parseMount } from './mounts.ts'
import { usersSource } from './users.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())

it('tells who may log in and how, and never a hash', async () => {
  host.write(
    'etc/passwd',
    'root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/var/www:/usr/sbin/nologin\nbob:x:1001:1001::/home/bob:\nopen:x:1002:1002::/:/bin/sh\n+::::::\nbad line\nneg:x:-1:0::/:/bin/sh\n',
  )
  host.write(
    'etc/shadow',
    'root:$y$j9T$secretsecret$hash:19500:0:99999:7:::\nwww:*:19500:0:99999:7:::\nbob:!$6$old:0:0:99999:7::20000:\nopen::19500::::::\n',
  )
  const { items, troubles } = await usersSource(host, 100).read()
  expect(JSON.stringify(items)).not.toMatch(/secret|\$6\$|\$y\$/)
  expect(items.map(({ facts }) => [facts['name'], facts['login_shell'], facts['password'], facts['expires']])).toEqual([
    ['root', true, 'set', undefined],
    ['www', false, 'locked', undefined],
    ['bob', true, 'locked', '2024-10-04'],
    ['open', true, 'none', undefined],
  ])
  expect(items[0]?.facts['password_changed']).toBe('2023-05-23')
  expect(troubles).toEqual(['2 lines of /etc/passwd are no accounts'])
})

it('tells groups with their members, bounded', async () => {
  const members = Array.from({ length: 500 }, (_, n) => `user${n}`)
  host.write('etc/group', `root:x:0:\nall:x:100:${members.join(',')}\nbad:x:\n`)
  const { items, troubles } = await groupsSource(host, 100).read()
  expect(
    items.map(({ facts }) => [facts['name'], (facts['members'] as string[]).length, facts['members_count']]),
  ).toEqual([
    ['root', 0, 0],
    ['all', 64, 500],
  ])
  expect(troubles).toEqual(['1 lines of /etc/group are no groups'])
})

it('reads mounts with odd names, and leaves out those of containers and sessions', () => {
  const line = (target: string) => `36 35 98:0 /sub ${target} rw,noatime master:1 - ext4 /dev/sda1 ro,errors=x`
  expect(parseMount(line(String.raw`/mnt/a\040b\134c`))).toMatchObject({
    facts: { target: '/mnt/a b\\c', type: 'ext4', from: '/sub', options: ['rw', 'noatime'], read_only: true },
  })
  for (const target of ['/run/user/1000/gvfs', '/var/lib/docker/overlay2/x/merged', '/run/credentials/x'])
    expect(parseMount(line(target))).toBeUndefined()
  expect(parseMount('nonsense')).toBeUndefined()
})
