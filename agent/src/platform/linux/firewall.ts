/** nftables, by its own tool. Rulesets go in on standard input as one transaction. Source: nft(8), design 5. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Fault, ok, refuse, type Result } from '@firebreak/shared/result.ts'
import type { Firewall, Watch } from '../platform.ts'
import { findProgram, PROGRAM_ENVIRONMENT, run, type Ran } from './program.ts'

export const TABLE = 'inet firebreak'
const NFT_TIMEOUT_MS = 5_000
/** capabilities(7): CAP_NET_ADMIN. */
const CAP_NET_ADMIN = 12n
const WATCH_END_MS = 1_000
const WATCH_RESTART_MS = [50, 250, 1_000, 5_000] as const

/** `nft`: where it is, when not in a system folder. `runner` goes before it, such as `['/usr/sbin/ip', 'netns', 'exec', 'name']` for another network namespace. */
export function createFirewall(options: { readonly runner?: readonly string[]; readonly nft?: string } = {}): Firewall {
  const runner = options.runner ?? []
  const path = options.nft ?? findProgram('nft')
  const nft = (args: readonly string[], stdin?: string): Promise<Ran> =>
    run([...runner, path ?? 'nft', ...args], { timeoutMs: NFT_TIMEOUT_MS, ...(stdin === undefined ? {} : { stdin }) })

  const unreadable = (what: string, ran: Ran) =>
    new Fault('firewall_unreadable', `nft cannot list ${what}: ${firstLines(ran.stderr)}`)
  const transaction = async (text: string): Promise<Result<void, 'rejected'>> => {
    const ran = await nft(['-f', '-'], text)
    return ran.code === 0 ? ok() : refuse('rejected', `nft refused the transaction: ${firstLines(ran.stderr)}`)
  }

  return {
    async canRun(trial) {
      if (path === undefined) return refuse('unsupported', 'nft is not installed')
      if (!hasNetAdmin()) return refuse('unsupported', 'CAP_NET_ADMIN is missing')
      // --check sends the batch without its end: the kernel validates it and takes nothing (nft(8), -c).
      const ran = await nft(['-c', '-f', '-'], trial)
      return ran.code === 0 ? ok() : refuse('unsupported', `the kernel refuses the rules: ${firstLines(ran.stderr)}`)
    },
    async ruleset() {
      const ran = await nft(['-s', 'list', 'ruleset'])
      if (ran.code !== 0) throw unreadable('the ruleset', ran)
      return ran.stdout
    },
    async table() {
      // Numbers, so that a listing does not change when /etc/passwd or /etc/protocols does.
      const ran = await nft(['-s', '-n', 'list', 'table', ...TABLE.split(' ')])
      if (ran.code === 0) return ran.stdout
      if (isAbsent(ran)) return undefined
      throw unreadable(`table ${TABLE}`, ran)
    },
    apply: transaction,
    // `add` first: deleting what is not there would be an error, and two calls would be two transactions.
    deleteTable: () => transaction(`add table ${TABLE}\ndelete table ${TABLE}\n`),
    async counters() {
      const ran = await nft(['-j', 'list', 'counters', 'table', ...TABLE.split(' ')])
      if (ran.code === 0) return parseCounters(ran.stdout)
      if (isAbsent(ran)) return new Map()
      throw unreadable('counters', ran)
    },
    watch: (onChange) => watchRules([...runner, path ?? 'nft', 'monitor'], onChange),
  }
}

/** `nft monitor` prints a line for each change. Started again when it ends, since a watcher that died silently is worse than none. */
function watchRules(argv: readonly string[], onChange: () => void): Watch {
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let ends = 0
  let stopped = false
  let ended: Promise<void> = Promise.resolve()

  const start = () => {
    const [file = '', ...args] = argv
    const monitor = spawn(file, args, { env: PROGRAM_ENVIRONMENT, stdio: ['ignore', 'pipe', 'ignore'] })
    child = monitor
    monitor.stdout.on('data', () => {
      ends = 0
      onChange()
    })
    ended = new Promise((resolve) => {
      let over = false
      const end = () => {
        if (over) return
        over = true
        resolve()
        if (stopped) return
        timer = setTimeout(start, WATCH_RESTART_MS[Math.min(ends, WATCH_RESTART_MS.length - 1)])
        ends++
        // Whatever changed while nobody listened is found by looking.
        onChange()
      }
      monitor.once('error', end)
      monitor.once('close', end)
    })
  }
  start()
  return {
    async stop() {
      stopped = true
      clearTimeout(timer)
      child?.kill('SIGKILL')
      // One that hangs in the kernel is not waited for: a release must not depend on it.
      await Promise.race([ended, delay(WATCH_END_MS, undefined, { ref: false })])
    },
  }
}

function hasNetAdmin(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
  return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n
}

function parseCounters(json: string): ReadonlyMap<string, number> {
  const counters = new Map<string, number>()
  const listing = JSON.parse(json) as { nftables?: readonly { counter?: { name?: string; packets?: number } }[] }
  for (const { counter } of listing.nftables ?? []) {
    if (counter?.name !== undefined && counter.packets !== undefined) counters.set(counter.name, counter.packets)
  }
  return counters
}

/** ENOENT of the table is the one failure that is an answer; LC_ALL=C keeps strerror(3) in English. */
function isAbsent(ran: Ran): boolean {
  return ran.code === 1 && ran.stderr.includes('No such file or directory')
}

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 3).join(' ').slice(0, 400)
}
