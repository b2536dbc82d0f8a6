/** Keys that open the door: authorised keys of every account, and the host's own. Sources: sshd(8), sshd_config(5), RFC 4253, 6.6. */
import { dirname, join } from 'node:path'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import { present } from '../present.ts'
import { listFolder, readLines, stampOf } from './bounded-file.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'
import { parsePublicKey } from './ssh-public-key.ts'
import { type Account, readAccounts } from './users.ts'

const CONFIG = '/etc/ssh/sshd_config'
const CONFIG_DROP_INS = '/etc/ssh/sshd_config.d'
const HOST_KEYS = '/etc/ssh'
const DEFAULT_FILES = ['.ssh/authorized_keys', '.ssh/authorized_keys2'] as const
const MAX_BYTES = 4 * MiB
const MAX_CONFIG_BYTES = 256 * KiB
const MAX_LINE = 65_536
/** Accounts whose folders are looked into; the others are told to be unseen. */
const MAX_ACCOUNTS = 2_000
const MAX_WATCHED = 128

interface KeyFile {
  readonly path: string
  readonly user: string
}

export function sshKeysSource({ root }: Roots, limit: number): InventorySource {
  let folders: readonly string[] = ['/root/.ssh/']
  return {
    name: 'ssh-keys',
    kind: 'ssh-keys',
    get watch() {
      return ['/etc/passwd', `${HOST_KEYS}/`, ...folders]
    },
    async version() {
      const { files } = await keyFiles(root)
      folders = foldersOf(files.map(({ path }) => dirname(path)))
      const stamps = await Promise.all(files.map(({ path }) => stampOf(join(root, path))))
      return [...stamps, await stampOf(join(root, HOST_KEYS)), await stampOf(join(root, CONFIG))].join('|')
    },
    async read() {
      const found = new Findings(limit)
      const { files, troubles } = await keyFiles(root)
      for (const trouble of troubles) found.trouble(trouble)
      for (const file of files) await readAuthorised(root, file, found)
      await readHostKeys(root, found)
      return found.reading()
    },
  }
}

/** Folders of keys, and the homes of people in which one may come into being. Those of others are looked at every minute. */
function foldersOf(keys: readonly string[]): string[] {
  const homes = keys.map((path) => dirname(path)).filter((path) => path === '/root' || path.startsWith('/home/'))
  return [...new Set([...keys, ...homes])].slice(0, MAX_WATCHED).map((path) => `${path}/`)
}

/** Every file in which sshd would look, once an account; which of them exist is not known yet. */
async function keyFiles(root: string): Promise<{ files: readonly KeyFile[]; troubles: readonly string[] }> {
  const { accounts, troubles } = await readAccounts(root)
  const patterns = await configuredFiles(root)
  const files = new Map<string, KeyFile>()
  const looked = accounts.slice(0, MAX_ACCOUNTS)
  for (const account of looked) {
    for (const pattern of patterns) {
      const path = pathFor(pattern, account)
      if (path !== undefined && !files.has(path)) files.set(path, { path, user: account.name })
    }
  }
  const more = accounts.length - looked.length
  return { files: [...files.values()], troubles: more > 0 ? [...troubles, `keys of ${more} more accounts`] : troubles }
}

/** AuthorizedKeysFile; the first one that sshd comes across counts, drop-ins before the rest as Debian ships it. */
async function configuredFiles(root: string): Promise<readonly string[]> {
  const { names } = await listFolder(join(root, CONFIG_DROP_INS), 100)
  const paths = [...names.filter((name) => name.endsWith('.conf')).map((name) => join(CONFIG_DROP_INS, name)), CONFIG]
  for (const path of paths) {
    const read = await readLines(join(root, path), MAX_CONFIG_BYTES)
    for (const line of read.ok ? read.value : []) {
      if (/^\s*match\s/i.test(line)) break
      const value = /^\s*authorizedkeysfile[\s=]+(\S.{0,1024})$/i.exec(line.slice(0, 2_048))?.[1]
      if (value !== undefined)
        return value.trim() === 'none' ? [] : value.trim().replaceAll('"', '').split(/\s+/).slice(0, 16)
    }
  }
  return DEFAULT_FILES
}

/** %h, %u, %U and %% as in sshd_config(5); what is not absolute lies below the home. Undefined for a home that is none. */
function pathFor(pattern: string, { name, uid, home }: Account): string | undefined {
  const words: Readonly<Record<string, string>> = { h: home, u: name, U: uid, '%': '%' }
  const path = pattern.replaceAll(/%([huU%])/g, (_all, letter: string) => words[letter] ?? '')
  if (path.startsWith('/')) return join(path)
  return home.startsWith('/') && home !== '/nonexistent' ? join(home, path) : undefined
}

async function readAuthorised(root: string, { path, user }: KeyFile, found: Findings): Promise<void> {
  const read = await readLines(join(root, path), MAX_BYTES)
  if (!read.ok) {
    if (read.code !== 'absent') found.trouble(read.why)
    return
  }
  let malformed = 0
  for (const line of read.value) {
    if (/^\s*(?:#|$)/.test(line)) continue
    const key = line.length <= MAX_LINE ? parsePublicKey(line) : undefined
    if (!key) {
      malformed += 1
      continue
    }
    const { fingerprint, type, bits, comment, options } = key
    found.add({
      key: `authorized|${path}|${fingerprint}`,
      label: `${user}: ${type} ${fingerprint} ${comment}`.trim().slice(0, 512),
      facts: {
        use: 'authorized',
        user: user.slice(0, 1_024),
        file: path.slice(0, 1_024),
        fingerprint,
        type,
        ...present({
          bits,
          options: options.slice(0, 1_024) || undefined,
          comment: comment.slice(0, 512) || undefined,
        }),
      },
    })
  }
  if (malformed > 0) found.trouble(`${malformed} lines of ${path} hold no key`)
}

async function readHostKeys(root: string, found: Findings): Promise<void> {
  const { names } = await listFolder(join(root, HOST_KEYS), 1_000)
  for (const name of names) {
    if (!/^ssh_host_\w{1,64}_key\.pub$/.test(name)) continue
    const path = join(HOST_KEYS, name)
    const read = await readLines(join(root, path), 64 * KiB)
    const key = read.ok ? parsePublicKey(read.value[0] ?? '') : undefined
    if (!key) {
      found.trouble(read.ok ? `${path} holds no key` : read.why)
      continue
    }
    const { fingerprint, type, bits } = key
    found.add({
      key: `host|${path}`,
      label: `host key ${type} ${fingerprint}`,
      facts: { use: 'host', file: path, fingerprint, type, ...present({ bits }) },
    })
  }
}
