/** Accounts of the host: who there is, and who may log in. Sources: passwd(5), shadow(5), shells(5). Directory services are not asked. */
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { present } from '../present.ts'
import { readLines, stampOf } from './bounded-file.ts'
import { Findings, type InventorySource, type Roots } from './source.ts'

const MAX_BYTES = 16 * MiB
const DAY_MS = 86_400_000
const NUMBER = /^\d{1,10}$/
/** Shells that end at once. */
const NO_SHELLS = new Set(['nologin', 'false', 'true', 'sync', 'shutdown', 'halt'])

export interface Account {
  readonly name: string
  readonly uid: string
  readonly gid: string
  readonly home: string
  readonly shell: string
}

export function usersSource({ root }: Roots, limit: number): InventorySource {
  const [passwd, shadow] = [join(root, 'etc/passwd'), join(root, 'etc/shadow')]
  return {
    name: 'users',
    kind: 'users',
    watch: ['/etc/passwd', '/etc/shadow'],
    version: async () => `${await stampOf(passwd)}|${await stampOf(shadow)}`,
    async read() {
      const found = new Findings(limit)
      const { accounts, troubles } = await readAccounts(root)
      for (const trouble of troubles) found.trouble(trouble)
      const passwords = await readPasswords(shadow, found)
      for (const { name, uid, gid, home, shell } of accounts) {
        const loginShell = isLoginShell(shell)
        found.add({
          key: name,
          label: `${name} (${uid})${loginShell ? '' : ', no login shell'}`,
          facts: { name, uid, gid, home, shell, login_shell: loginShell, ...passwords.get(name) },
        })
      }
      return found.reading()
    },
  }
}

/** Lines that are none are counted in `troubles`; the compatibility entries of NIS (`+`, `-`) are left out. */
export async function readAccounts(root: string): Promise<{ accounts: Account[]; troubles: string[] }> {
  const read = await readLines(join(root, 'etc/passwd'), MAX_BYTES)
  if (!read.ok) return { accounts: [], troubles: read.code === 'absent' ? [] : [read.why] }
  const accounts: Account[] = []
  let malformed = 0
  for (const line of read.value) {
    if (line === '' || /^[#+-]/.test(line)) continue
    const [name, , uid, gid, , home = '', shell = ''] = line.split(':')
    if (!name || !uid || !gid || !NUMBER.test(uid) || !NUMBER.test(gid)) malformed += 1
    else accounts.push({ name: cut(name), uid, gid, home: cut(home), shell: cut(shell) })
  }
  return { accounts, troubles: malformed > 0 ? [`${malformed} lines of /etc/passwd are no accounts`] : [] }
}

function isLoginShell(shell: string): boolean {
  return !NO_SHELLS.has(shell.slice(shell.lastIndexOf('/') + 1))
}

/** Never the hash, nor which kind it is. */
async function readPasswords(path: string, found: Findings): Promise<Map<string, Record<string, string>>> {
  const passwords = new Map<string, Record<string, string>>()
  const read = await readLines(path, MAX_BYTES)
  if (!read.ok) {
    if (read.code !== 'absent') found.trouble(read.why)
    return passwords
  }
  for (const line of read.value) {
    const [name, hash, changed, , , , , expires] = line.split(':')
    if (!name || hash === undefined) continue
    passwords.set(name, {
      password: passwordState(hash),
      ...present({ password_changed: dayOf(changed), expires: dayOf(expires) }),
    })
  }
  return passwords
}

/** shadow(5): an empty field needs no password; one that no hash can equal lets nobody in by password. */
function passwordState(hash: string): string {
  if (hash === '') return 'none'
  return hash.startsWith('!') || hash.startsWith('*') ? 'locked' : 'set'
}

function dayOf(days: string | undefined): string | undefined {
  if (days === undefined || !/^\d{1,6}$/.test(days)) return undefined
  return new Date(Number(days) * DAY_MS).toISOString().slice(0, 10)
}

function cut(text: string): string {
  return text.slice(0, 1_024)
}
