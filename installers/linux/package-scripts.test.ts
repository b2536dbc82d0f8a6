import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const SCRIPTS = join(import.meta.dirname, 'debian')
const STATE = '/var/lib/firebreak-agent'
const OWNER =
  'table inet owner {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n'

let folder: string

/** Runs shell in namespaces of its own in which the folders that the scripts write to are copies, and no systemd is there to be asked. */
function shell(script: string) {
  const own = ['/etc', '/var/lib', '/usr/bin'].map((path) => {
    const name = path.replaceAll('/', '-')
    const layers = `lowerdir=${path},upperdir=/run/up${name},workdir=/run/work${name}`
    return `mkdir /run/up${name} /run/work${name} && mount -t overlay none -o ${layers} ${path}`
  })
  const lines = ['set -e', 'mount -t tmpfs none /run', ...own, `cp ${folder}/agent /usr/bin/firebreak-agent`, script]
  return spawnSync('unshare', ['--mount', '--net', 'sh', '-c', lines.join('\n')], { encoding: 'utf8' })
}

function noNamespaces(): string | undefined {
  if (process.getuid?.() !== 0) return 'namespaces of its own need root'
  for (const command of ['unshare', 'nft', 'deb-systemd-helper'])
    if (spawnSync('which', [command]).status !== 0) return `${command} is not installed`
  folder = mkdtempSync(join(tmpdir(), 'package-scripts-'))
  writeFileSync(join(folder, 'agent'), '#!/bin/sh\n')
  const tried = shell('true')
  rmSync(folder, { recursive: true, force: true })
  return tried.status === 0 ? undefined : `no overlay in a namespace: ${tried.stderr.trim()}`
}

const why = noNamespaces()

describe.skipIf(why)(`the scripts of the agent's package${why ? ` (skipped: ${why})` : ''}`, () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'package-scripts-'))
    agent('echo "agent $*"')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  function agent(does: string): void {
    writeFileSync(join(folder, 'agent'), `#!/bin/sh\n${does}\n`)
    chmodSync(join(folder, 'agent'), 0o755)
  }
  const isolated = `mkdir -p ${STATE} && touch ${STATE}/isolation.json ${STATE}/isolation.nft ${STATE}/enrolment.json
    printf '${OWNER}' | nft -f -
    nft add table inet firebreak`
  const left = `nft list ruleset; ls ${STATE}`

  it('free a host that is isolated when the package is removed, tell the agent, and touch no rule of others', () => {
    const done = shell(`${isolated}; sh ${SCRIPTS}/prerm remove; ${left}`)
    expect(done.stderr).toBe('')
    expect(done.stdout).toBe(
      `agent package-removed\nFirebreak agent: this host was isolated; its isolation has been taken away.\n${OWNER}enrolment.json\nisolation.json\n`,
    )
  })

  it('forget the isolation themselves when the agent cannot run any more, so that it does not come back with it', () => {
    agent('exit 70')
    try {
      const done = shell(`${isolated}; sh ${SCRIPTS}/prerm remove; ${left}`)
      expect([done.status, done.stdout]).toEqual([0, expect.stringMatching(/^Firebreak agent: .*\n/)])
      expect(done.stdout.replace(/^.*\n/, '')).toBe(`${OWNER}enrolment.json\n`)
    } finally {
      agent('echo "agent $*"')
    }
  })

  it('leave an isolation in force when the package is only upgraded', () => {
    const done = shell(`${isolated}; sh ${SCRIPTS}/prerm upgrade 9.9; ${left}`)
    expect(done.stdout).toContain('table inet firebreak')
    expect(done.stdout).toContain('enrolment.json\nisolation.json\nisolation.nft\n')
    expect(done.stdout).not.toContain('agent')
  })

  it('let a host be removed that was never isolated', () => {
    const done = shell(`mkdir -p ${STATE}; sh ${SCRIPTS}/prerm remove; ${left}`)
    expect([done.status, done.stdout, done.stderr]).toEqual([0, 'agent package-removed\n', ''])
  })

  it('make a state folder that only root reads, and say how to join while the host has not', () => {
    const done = shell(
      `umask 022; sh ${SCRIPTS}/postinst configure; stat -c %a ${STATE}; touch ${STATE}/enrolment.json; sh ${SCRIPTS}/postinst configure 0.1.0`,
    )
    expect(done.stdout).toMatch(/^Firebreak agent: installed\. To join: .*\n700\n$/)
  })

  it('keep keys and configuration when the package is removed, and leave none of them when it is purged', () => {
    const set = `mkdir -p ${STATE} /etc/firebreak/conf.d; touch ${STATE}/key /etc/firebreak/agent.yaml /etc/firebreak/ceiling.yaml /etc/firebreak/controller.yaml`
    const kept = shell(`${set}; sh ${SCRIPTS}/postrm remove; ls ${STATE} /etc/firebreak/*.yaml`)
    expect(kept.stdout).toContain('key')
    expect(kept.stdout).toContain('/etc/firebreak/ceiling.yaml')
    const gone = shell(`${set}; sh ${SCRIPTS}/postrm purge; ls -d ${STATE} /etc/firebreak/*.yaml || true`)
    // Of a controller on the same machine nothing is taken.
    expect(gone.stdout).toBe('/etc/firebreak/controller.yaml\n')
  })
})
