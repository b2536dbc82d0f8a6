/** What runs by the clock without systemd: crontabs, cron.d, cron.daily and its kin, anacron, at. Sources: crontab(5), anacrontab(5), at(1). */
import { createHash } from 'node:crypto'
import { basename, join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { textOfBytes } from '../escaped-bytes.ts'
import { present } from '../present.ts'
import { listFolder, readBounded, stampOf, stampOfFolder } from './bounded-file.ts'
import { parseAnacronLine, parseAtJob, parseCronLine } from './cron-line.ts'
import { Findings, type InventorySource, type Item, type Roots } from './source.ts'

const SYSTEM = '/etc/crontab'
const DROP_INS = '/etc/cron.d'
const ANACRON = '/etc/anacrontab'
/** Debian's, then those of Red Hat and of busybox. */
const SPOOLS = ['/var/spool/cron/crontabs', '/var/spool/cron', '/etc/crontabs'] as const
const FOLDERS = ['hourly', 'daily', 'weekly', 'monthly'] as const
const AT_SPOOLS = ['/var/spool/cron/atjobs', '/var/spool/at'] as const
const MAX_BYTES = MiB
const MAX_FILES = 2_000

export function cronJobsSource({ root }: Roots, limit: number): InventorySource {
  const folders = [DROP_INS, ...FOLDERS.map((name) => `/etc/cron.${name}`), ...SPOOLS, ...AT_SPOOLS]
  return {
    name: 'cron-jobs',
    kind: 'cron-jobs',
    watch: [SYSTEM, ANACRON, ...folders.map((folder) => `${folder}/`)],
    async version() {
      const files = await Promise.all([SYSTEM, ANACRON].map((path) => stampOf(join(root, path))))
      const inFolders = folders.map((path) => stampOfFolder(join(root, path), MAX_FILES))
      return [...files, ...inFolders].join('|')
    },
    async read() {
      const found = new Findings(limit)
      const read = new CronReader(root, found)
      await read.crontab(SYSTEM, undefined)
      await read.eachIn(DROP_INS, (path) => read.crontab(path, undefined))
      for (const spool of SPOOLS) await read.eachIn(spool, (path) => read.crontab(path, basename(path)))
      await read.anacrontab(ANACRON)
      for (const name of FOLDERS) await read.eachIn(`/etc/cron.${name}`, (path) => read.script(path, name))
      for (const spool of AT_SPOOLS) await read.eachIn(spool, (path) => read.atJob(path))
      return found.reading()
    },
  }
}

class CronReader {
  readonly #root: string
  readonly #found: Findings

  constructor(root: string, found: Findings) {
    this.#root = root
    this.#found = found
  }

  async eachIn(folder: string, look: (path: string) => Promise<void>): Promise<void> {
    const { names, why } = await listFolder(join(this.#root, folder), MAX_FILES)
    if (why !== undefined) this.#found.trouble(why)
    // What packages leave behind and editors keep is not run; nor is a folder.
    for (const name of names)
      if (!/^\.|~$|\.(?:dpkg-\w+|rpmsave|rpmnew|rpmorig)$/.test(name)) await look(join(folder, name))
  }

  /** `user`: whose crontab it is; undefined where each line names its user. */
  async crontab(path: string, user: string | undefined): Promise<void> {
    const text = await this.#text(path)
    if (text === undefined) return
    let malformed = 0
    for (const line of text.split('\n')) {
      const job = parseCronLine(line, user === undefined)
      if (job === undefined) continue
      if (job === 'malformed') malformed += 1
      else this.#add(path, job.schedule, job.user ?? user ?? 'root', job.command)
    }
    if (malformed > 0) this.#found.trouble(`${malformed} lines of ${path} are no jobs`)
  }

  async anacrontab(path: string): Promise<void> {
    const text = await this.#text(path)
    for (const line of text?.split('\n') ?? []) {
      const job = parseAnacronLine(line)
      if (job) this.#add(path, job.schedule, 'root', job.command)
    }
  }

  /** A program in cron.daily and its kin is run as it is: its content counts. */
  async script(path: string, often: string): Promise<void> {
    const read = await this.#bytes(path)
    if (read) this.#add(path, often, 'root', path, { sha256: sha256(read) })
  }

  async atJob(path: string): Promise<void> {
    const read = await this.#bytes(path)
    const job = read && parseAtJob(basename(path), textOfBytes(read))
    if (read && job) this.#add(path, `at ${job.at}`, job.user, job.command, { sha256: sha256(read) })
  }

  #add(file: string, schedule: string, user: string, command: string, more: { readonly sha256?: string } = {}): void {
    const item: Item = {
      // A script and an at job are their file; a line of a crontab is what it says.
      key: more.sha256 === undefined ? `${file}|${keyOf(`${schedule} ${user} ${command}`)}` : file,
      label: `${schedule} ${user}: ${command}`.slice(0, 512),
      facts: {
        schedule: schedule.slice(0, 256),
        user: user.slice(0, 256),
        command: command.slice(0, 2_048),
        file: file.slice(0, 1_024),
        ...present(more),
      },
    }
    this.#found.add(item)
  }

  async #text(path: string): Promise<string | undefined> {
    const bytes = await this.#bytes(path)
    return bytes && textOfBytes(bytes)
  }

  async #bytes(path: string): Promise<Buffer | undefined> {
    const read = await readBounded(join(this.#root, path), MAX_BYTES)
    if (read.ok) return read.value
    // Among the names of a folder there may be folders.
    if (read.code !== 'absent' && read.code !== 'not_a_file') this.#found.trouble(read.why)
    return undefined
  }
}

function keyOf(line: string): string {
  return line.length <= 256 ? line : sha256(Buffer.from(line))
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
