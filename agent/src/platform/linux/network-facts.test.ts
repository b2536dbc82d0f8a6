import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { createNetworkFacts } from './network-facts.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function host(files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'fbt-facts-'))
  folders.push(root)
  mkdirSync(join(root, 'self/net'), { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
  return createNetworkFacts({
    proc: root,
    sys: join(root, 'none'),
    resolvConf: join(root, 'resolv.conf'),
    leaseFolders: [root],
  })
}

it('knows the gateways of both families, a link-local one with its interface', () => {
  const facts = host({
    'self/net/route':
      'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n' +
      'eth0\t00000000\t0103A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\neth0\t0003A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n',
    'self/net/ipv6_route':
      '00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n' +
      '00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n',
  })
  expect(facts.gateways()).toEqual([
    { ip: '192.168.3.1', family: 4 },
    { ip: 'fe80::1%eth0', family: 6 },
  ])
})

it('knows who is talked to, without loopback, IPv4 over IPv6 sockets as IPv4', () => {
  const line = (remote: string, state: string) =>
    `   0: 00000000:0016 ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1\n`
  const facts = host({
    'self/net/tcp': `  sl  local_address rem_address st\n${line('0100007F:1F90', '01')}${line('0200000A:01BB', '01')}${line('0300000A:01BB', '06')}`,
    'self/net/tcp6': `  sl  local_address remote_address st\n${line('0000000000000000FFFF00000400000A:0050', '01')}${line('B80D0120000000000000000001000000:01BB', '01')}${line('00000000000000000000000001000000:01BB', '01')}`,
  })
  expect(facts.peers()).toEqual([
    { ip: '10.0.0.2', port: 443, family: 4 },
    { ip: '10.0.0.4', port: 80, family: 4 },
    { ip: '2001:db8::1', port: 443, family: 6 },
  ])
})

it('knows resolvers and DHCP servers by the files of the usual clients, and takes only addresses', () => {
  const facts = host({
    'resolv.conf': '# nameserver 1.1.1.1\nnameserver 192.0.2.53\nnameserver evil;rm\nnameserver 2001:db8::53\n',
    'dhclient.eth0.leases': 'lease {\n  option dhcp-server-identifier 192.0.2.1;\n}\n',
    '2': 'ADDRESS=192.0.2.9\nSERVER_ADDRESS=192.0.2.2\n',
    'internal-x.lease': 'SERVER_ADDRESS=999.0.0.1\n',
  })
  expect(facts.resolvers()).toEqual(['192.0.2.53', '2001:db8::53'])
  expect([...facts.dhcpServers()].sort()).toEqual(['192.0.2.1', '192.0.2.2'])
})

it('tells nothing, and does not fail, where nothing can be read', () => {
  const facts = createNetworkFacts({
    proc: '/nonexistent',
    sys: '/nonexistent',
    resolvConf: '/nonexistent',
    leaseFolders: ['/nonexistent'],
  })
  expect([
    facts.gateways(),
    facts.peers(),
    facts.neighbours(),
    facts.resolvers(),
    facts.dhcpServers(),
    facts.bypasses(),
    facts.ipv6Links(),
  ]).toEqual([[], [], [], [], [], [], []])
})
