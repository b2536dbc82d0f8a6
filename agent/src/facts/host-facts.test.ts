import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os, { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HostFacts } from '@firebreak/shared/wire/messages.ts'
import { Value } from 'typebox/value'
import { expect, it } from 'vitest'
import { AGENT_VERSION } from '../identity/version.ts'
import { hostAddresses, readHostFacts } from './host-facts.ts'
import { parseOsRelease } from './os-release.ts'

it('describes this host in the form that the controller takes', () => {
  const facts = readHostFacts()
  expect(Value.Check(HostFacts, facts)).toBe(true)
  expect(facts).toMatchObject({ hostname: os.hostname(), agent_version: AGENT_VERSION, architecture: os.machine() })
})

it('hands out the digest of the machine id, never the id, and leaves out what is not there', () => {
  const root = mkdtempSync(join(tmpdir(), 'facts-'))
  mkdirSync(join(root, 'etc'))
  expect(readHostFacts({ root, platform: 'linux' })).not.toHaveProperty('machine_id_sha256')
  const id = '0123456789abcdef0123456789abcdef'
  writeFileSync(join(root, 'etc/machine-id'), `${id}\n`)
  const facts = readHostFacts({ root, platform: 'linux' })
  expect(facts.machine_id_sha256).toBe(createHash('sha256').update(`firebreak:${id}`).digest('hex'))
  expect(JSON.stringify(facts)).not.toContain(id)
  rmSync(root, { recursive: true })
})

it('reads os-release with and without quotes', () => {
  expect(parseOsRelease('NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')).toEqual({
    name: 'Debian GNU/Linux',
    version: '12',
  })
  expect(parseOsRelease("NAME='Alpine \\$x'\nBUILD_ID=rolling\n#c\n")).toEqual({
    name: 'Alpine $x',
    version: 'rolling',
  })
  expect(parseOsRelease('')).toEqual({ name: undefined, version: undefined })
})

it('names addresses that others can use first, and no loopback', () => {
  const address = (ip: string, internal = false) => ({
    address: ip,
    internal,
    netmask: '',
    mac: '',
    cidr: null,
    family: 'IPv4' as const,
  })
  expect(hostAddresses({ lo: [address('127.0.0.1', true)], eth0: [address('fe80::1'), address('192.0.2.1')] })).toEqual(
    ['192.0.2.1', 'fe80::1'],
  )
})

it('tells the first addresses of a host with very many, so that its hello stays small', () => {
  const many = Array.from({ length: 300 }, (_, i) => ({
    address: `2001:db8:ffff:ffff:ffff:ffff:ffff:${(i + 0x1000).toString(16)}`,
    internal: false,
    netmask: '',
    mac: '',
    cidr: null,
    family: 'IPv6' as const,
    scopeid: 0,
  }))
  expect(JSON.stringify(readHostFacts({ interfaces: { eth0: many } })).length).toBeLessThan(2_048)
})
