import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FakeProcfs } from '../procfs.fake.ts'
import { sshKeysSource } from './ssh-keys.ts'
import { parsePublicKey } from './ssh-public-key.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())
const read = () => sshKeysSource(host, 100).read()

/** Made by the tool itself, with the fingerprint that it prints. */
function newKey(type: string, bits: string) {
  const file = join(host.folder, `${type}-${bits}`)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-b', bits, '-N', '', '-C', 'eve at home', '-f', file])
  const [size, fingerprint] = execFileSync('ssh-keygen', ['-l', '-f', `${file}.pub`], { encoding: 'utf8' }).split(' ')
  return { line: readFileSync(`${file}.pub`, 'utf8').trim(), fingerprint, bits: Number(size) }
}

it.each([
  ['ed25519', '256'],
  ['rsa', '2048'],
  ['rsa', '1024'],
  ['ecdsa', '256'],
  ['ecdsa', '521'],
])('has the fingerprint and the size that ssh-keygen prints: %s %s', (type, bits) => {
  const key = newKey(type, bits)
  for (const options of ['', 'no-pty,from="10.0.0.0/8,*.example.org",command="echo \\"hi there\\"" ']) {
    expect(parsePublicKey(`${options}${key.line}`)).toMatchObject({
      fingerprint: key.fingerprint,
      bits: key.bits,
      comment: 'eve at home',
      options: options.trim(),
    })
  }
})

it('finds keys wherever sshd would look, with what limits them', async () => {
  const [mine, yours, hosts] = [newKey('ed25519', '256'), newKey('ecdsa', '256'), newKey('rsa', '2048')]
  host.write(
    'etc/ssh/sshd_config',
    'AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u\nMatch User x\n AuthorizedKeysFile none\n',
  )
  host.write(
    'root/.ssh/authorized_keys',
    `# comment\n\nfrom="10.0.0.1" ${mine.line}\nnot a key\nssh-ed25519 AAAAC3Nz broken\n`,
  )
  host.write('etc/ssh/keys/alice', `${yours.line}\n`)
  host.write('etc/ssh/ssh_host_rsa_key.pub', `${hosts.line}\n`)
  const { items, troubles } = await read()
  expect(items.map(({ facts }) => facts)).toMatchObject([
    {
      use: 'authorized',
      user: 'root',
      file: '/root/.ssh/authorized_keys',
      fingerprint: mine.fingerprint,
      options: 'from="10.0.0.1"',
    },
    { use: 'authorized', user: 'alice', file: '/etc/ssh/keys/alice', fingerprint: yours.fingerprint, bits: 256 },
    { use: 'host', file: '/etc/ssh/ssh_host_rsa_key.pub', fingerprint: hosts.fingerprint, bits: 2048 },
  ])
  expect(troubles).toEqual(['2 lines of /root/.ssh/authorized_keys hold no key'])
})

it('shows nothing of a file that an account points its own at', async () => {
  host.write('etc/shadow', 'root:$6$secret:1:0:99999:7:::\n')
  mkdirSync(join(host.root, 'home/alice/.ssh'), { recursive: true })
  symlinkSync('../../../etc/shadow', join(host.root, 'home/alice/.ssh/authorized_keys'))
  const reading = await read()
  expect(JSON.stringify(reading)).not.toContain('secret')
  expect(reading.troubles).toEqual(['1 lines of /home/alice/.ssh/authorized_keys hold no key'])
})
