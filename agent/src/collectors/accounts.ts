import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { textOfBytes } from './escaped-bytes.ts'

const CHECK_MS = 1_000
const MAX_FILE_BYTES = 8 * MiB

interface Account {
  readonly uid: string
  readonly name: string
  readonly gid: string
  readonly home: string
  readonly shell: string
}
/** Names of the numbers in /etc/passwd; read again when the file changed, looked at once a second at most. Directory services are not asked. */
export class AccountNames {
  readonly #path: string
  readonly #clock: Pick<Clock, 'now'>
  #checkedAt = Number.NEGATIVE_INFINITY
  #version = ''
  #names: ReadonlyMap<string, string> = new Map()

  constructor(clock: Pick<Clock, 'now'>, root = '/') {
    this.#clock = clock
    this.#path = join(root, 'etc/passwd')
  }

  nameOf(uid: string): string | undefined {
    return this.current().get(uid)
  }

  /** All of them; another map as soon as one has changed. */
  current(): ReadonlyMap<string, string> {
    const now = this.#clock.now()
    // Wall time may jump back: then it looks at once.
    if (Math.abs(now - this.#checkedAt) >= CHECK_MS) {
      this.#checkedAt = now
      this.#refresh()
    }
    return this.#names
  }

  #refresh(): void {
    const version = versionOf(this.#path)
    if (version === this.#version) return
    this.#version = version
    const names = new Map<string, string>()
    // The first line of a number counts, as for getpwuid(3).
    for (const account of readAccounts(this.#path)) if (!names.has(account.uid)) names.set(account.uid, account.name)
    this.#names = names
  }
}

/** Changes when the file does; empty when there is none. */
export function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}` : ''
}

/** passwd(5). A line that is not one is skipped; no file gives none. */
function readAccounts(path: string): Account[] {
  const accounts: Account[] = []
  for (const line of linesOf(path)) {
    const [name, , uid, gid, , home, shell] = line.split(':')
    if (!name || !isNumber(uid) || !isNumber(gid)) continue
    accounts.push({ name, uid, gid, home: home ?? '', shell: shell ?? '' })
  }
  return accounts
}

function linesOf(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat || !stat.isFile() || stat.size > MAX_FILE_BYTES) return []
  return textOfBytes(readFileSync(path)).split('\n')
}

function isNumber(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,10}$/.test(text)
}
