/** The audit subsystem of this machine with rules of our own and Debian's auditd reading it, for as long as it is used. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Why audit cannot be used here; undefined when it can. Nobody else's rules are touched. */
export function noAudit(): string | undefined {
  const status = spawnSync('auditctl', ['-s'], { encoding: 'utf8' })
  if (status.error) return 'auditctl is not installed (Debian package auditd)'
  if (status.status !== 0) return `auditctl -s: ${status.stderr.trim()}`
  if (!/^pid 0$/m.test(status.stdout)) return 'an audit daemon runs on this machine'
  if (spawnSync('which', ['auditd']).status !== 0) return 'auditd is not installed'
  const rules = spawnSync('auditctl', ['-l'], { encoding: 'utf8' }).stdout.trim()
  return rules === 'No rules' ? undefined : 'this machine has audit rules of its own'
}

export class AuditDaemon implements AsyncDisposable {
  readonly #rules: readonly (readonly string[])[]
  readonly #folder = mkdtempSync(join(tmpdir(), 'fb-audit-'))
  readonly #before = statusOf()
  #daemon: ChildProcess | undefined

  /** Each as auditctl(8) takes it after -a. */
  constructor(rules: readonly (readonly string[])[]) {
    this.#rules = rules
    mkdirSync(join(this.#folder, 'plugins.d'))
    writeFileSync(
      join(this.#folder, 'auditd.conf'),
      [
        'local_events = yes',
        'write_logs = yes',
        `log_file = ${this.logPath}`,
        'log_format = RAW',
        'flush = INCREMENTAL_ASYNC',
        'freq = 50',
        'max_log_file = 512',
        'max_log_file_action = IGNORE',
        'space_left = 75',
        'space_left_action = IGNORE',
        'admin_space_left = 50',
        'admin_space_left_action = IGNORE',
        'disk_full_action = IGNORE',
        'disk_error_action = IGNORE',
        `plugin_dir = ${join(this.#folder, 'plugins.d')}`,
        '',
      ].join('\n'),
      { mode: 0o600 },
    )
  }

  get logPath(): string {
    return join(this.#folder, 'audit.log')
  }

  async on(): Promise<void> {
    this.#daemon = spawn('auditd', ['-n', '-s', 'enable', '-c', this.#folder], { stdio: 'ignore' })
    await sleep(500)
    if (this.#daemon.exitCode !== null) throw new Error(`auditd ended with ${this.#daemon.exitCode}`)
    // A backlog that never makes a program wait: what it costs, not what it throttles, is compared.
    execFileSync('auditctl', ['-b', '65536', '--backlog_wait_time', '0'], { stdio: 'ignore' })
    for (const rule of this.#rules) execFileSync('auditctl', ['-a', ...rule], { stdio: ['ignore', 'ignore', 'pipe'] })
  }

  /** Since the machine started. */
  lost(): number {
    return statusOf().lost
  }

  async off(): Promise<void> {
    const daemon = this.#daemon
    if (!daemon) return
    this.#daemon = undefined
    for (const rule of this.#rules) spawnSync('auditctl', ['-d', ...rule], { stdio: 'ignore' })
    const { enabled, backlog_limit: limit, backlog_wait_time: wait } = this.#before
    spawnSync('auditctl', ['-b', String(limit), '--backlog_wait_time', String(wait)], { stdio: 'ignore' })
    if (enabled === 0) spawnSync('auditctl', ['-e', '0'], { stdio: 'ignore' })
    if (daemon.exitCode !== null) return
    const ended = once(daemon, 'exit')
    daemon.kill('SIGTERM')
    await ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.off()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** What auditctl(8) says of the kernel's side. */
function statusOf() {
  const { stdout } = spawnSync('auditctl', ['-s'], { encoding: 'utf8' })
  const numberOf = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stdout)?.[1] ?? 0)
  return {
    enabled: numberOf('enabled'),
    lost: numberOf('lost'),
    backlog_limit: numberOf('backlog_limit'),
    backlog_wait_time: numberOf('backlog_wait_time'),
  }
}
