/**
 * A small network for tests: a host to isolate, a controller, and a stranger who is also the gateway and the DNS server, on one bridge;
 * and an inner host behind the host to isolate. Every part is a network namespace of its own, so the rules of the machine stay as they are.
 */
import { execFileSync, type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { findProgram } from '../../../platform/linux/program.ts'

export const ADDRESSES = {
  host: { v4: '10.77.0.1', v6: 'fd77::1' },
  controller: { v4: '10.77.0.2', v6: 'fd77::2' },
  stranger: { v4: '10.77.0.3', v6: 'fd77::3' },
  inner: { v4: '10.78.0.2', v6: 'fd78::2' },
} as const
export type Place = keyof typeof ADDRESSES
const PLACES = Object.keys(ADDRESSES) as readonly Place[]
const PREFIX = 'fbt-'

/** Why it cannot run here; undefined when it can. */
export function whyNot(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.geteuid?.() !== 0) return 'needs root'
  const missing = ['ip', 'nft'].find((name) => findProgram(name) === undefined)
  return missing === undefined ? undefined : `needs ${missing}`
}

export class Namespaces {
  readonly #id = `${PREFIX}${process.pid}-${Math.random().toString(36).slice(2, 5)}`
  readonly #children = new Set<ChildProcess>()
  readonly #rootRuleset: string

  constructor() {
    removeAbandoned()
    this.#rootRuleset = rootRuleset()
    for (const place of [...PLACES, 'bridge'] as const) ip('netns', 'add', this.name(place))
    ip('-n', this.name('bridge'), 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', this.name('bridge'), 'link', 'set', 'br0', 'up')
    for (const place of ['host', 'controller', 'stranger'] as const) {
      ip(
        '-n',
        this.name('bridge'),
        'link',
        'add',
        place,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        this.name(place),
      )
      ip('-n', this.name('bridge'), 'link', 'set', place, 'master', 'br0', 'up')
      this.#address(place, 'eth0', `${ADDRESSES[place].v4}/24`, `${ADDRESSES[place].v6}/64`)
    }
    ip(
      '-n',
      this.name('host'),
      'link',
      'add',
      'eth1',
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      this.name('inner'),
    )
    this.#address('host', 'eth1', '10.78.0.1/24', 'fd78::1/64')
    this.#address('inner', 'eth0', `${ADDRESSES.inner.v4}/24`, `${ADDRESSES.inner.v6}/64`)
    this.#route('host', ADDRESSES.stranger.v4, ADDRESSES.stranger.v6)
    this.#route('inner', '10.78.0.1', 'fd78::1')
    this.exec('host', 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    for (const [family, net, via] of [
      ['-4', '10.78.0.0/24', ADDRESSES.host.v4],
      ['-6', 'fd78::/64', ADDRESSES.host.v6],
    ] as const) {
      ip('-n', this.name('stranger'), family, 'route', 'add', net, 'via', via)
    }
  }

  name(place: Place | 'bridge'): string {
    return `${this.#id}-${place.slice(0, 2)}`
  }

  exec(place: Place, ...argv: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name(place), ...argv], { encoding: 'utf8', maxBuffer: 1 << 26 })
  }

  nft(place: Place, text: string): void {
    execFileSync('ip', ['netns', 'exec', this.name(place), 'nft', '-f', '-'], { input: text })
  }

  ruleset(place: Place): string {
    return this.exec(place, 'nft', '-s', 'list', 'ruleset')
  }

  spawn(place: Place, script: string, args: readonly string[], before: readonly string[] = []): ChildProcess {
    const argv = ['netns', 'exec', this.name(place), ...before, process.execPath, script, ...args]
    const child = spawn('ip', argv, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }

  /** Ends what it started and says whether the rules of the machine itself are what they were. */
  async destroy(): Promise<boolean> {
    await Promise.all(
      [...this.#children].map((child) => {
        const gone = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGKILL')
        return gone
      }),
    )
    for (const place of [...PLACES, 'bridge'] as const) ip('netns', 'del', this.name(place))
    return rootRuleset() === this.#rootRuleset
  }

  #address(place: Place, link: string, v4: string, v6: string): void {
    const name = this.name(place)
    ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', name, 'addr', 'add', v4, 'dev', link)
    // Usable at once: nobody else is on this link.
    ip('-n', name, 'addr', 'add', v6, 'dev', link, 'nodad')
    ip('-n', name, 'link', 'set', link, 'up')
  }

  #route(place: Place, v4: string, v6: string): void {
    ip('-n', this.name(place), 'route', 'add', 'default', 'via', v4)
    ip('-n', this.name(place), '-6', 'route', 'add', 'default', 'via', v6)
  }
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' })
}

function rootRuleset(): string {
  return execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' })
}

/** Namespaces of test runs that were killed: their name holds the pid of the run. */
function removeAbandoned(): void {
  let names: readonly string[] = []
  try {
    names = readdirSync('/run/netns')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  for (const name of names) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) ip('netns', 'del', name)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
