import { spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { Value } from 'typebox/value'
import { expect, it } from 'vitest'
import type { Collector } from './collector.ts'
import { type CollectorUnderTest, describeCollector } from './collector.contract.ts'
import { CollectorsConfig } from './collectors-config.ts'
import { type CollectorDeps, createCollectors } from './collectors.ts'
import { FakeProcfs } from './procfs.fake.ts'

type Changes = { readonly [K in keyof CollectorsConfig]?: Partial<CollectorsConfig[K]> }

function configWith(changes: Changes): CollectorsConfig {
  const config = Value.Default(CollectorsConfig, structuredClone(changes))
  if (!Value.Check(CollectorsConfig, config)) throw new Error('the test has a wrong configuration')
  return config
}

function pick(name: string, changes: Changes, deps: Partial<CollectorDeps> = {}): Collector {
  const all = createCollectors({ clock: systemClock, hostName: 'contract-host', ...deps }, configWith(changes))
  const found = all.find((collector) => collector.name === name)
  if (!found) throw new Error(`no collector ${name}`)
  return found
}

const fast = { process: { interval_ms: 20 }, network: { interval_ms: 100 }, logins: { interval_ms: 50 } }
const nowhere = { root: '/nonexistent', procRoot: '/nonexistent/proc' }

it('has every source in its table once, each with a name that fits a status message', () => {
  const names = createCollectors({ clock: systemClock }, configWith({})).map((collector) => collector.name)
  expect(names).toEqual(['kernel', 'audit', 'process', 'process-portable', 'file', 'network', 'logins', 'inventory'])
})

describeCollector('process (Linux)', {
  running() {
    const fake = new FakeProcfs()
    fake.add({ pid: 1 })
    let pid = 100
    return {
      collector: pick('process', fast, { procRoot: fake.procRoot, root: fake.root }),
      provoke: () => fake.add({ pid: pid++ }),
      lose: () => fake.addVanished(9_000),
      cleanUp: () => fake[Symbol.dispose](),
    }
  },
  withoutSource: () => pick('process', {}, nowhere),
  switchedOff: () => pick('process', { process: { enabled: false } }),
})

describeCollector('process (systeminformation)', {
  running() {
    const children: ReturnType<typeof spawn>[] = []
    return {
      collector: pick('process-portable', {}, { platform: 'darwin' }),
      provoke: () => void children.push(spawn('sleep', ['0.1'])),
      cleanUp: () => children.forEach((child) => child.kill()),
    }
  },
  withoutSource: () => pick('process-portable', {}, { platform: 'linux' }),
  switchedOff: () => pick('process-portable', { process: { enabled: false } }, { platform: 'darwin' }),
})

describeCollector('file', {
  running() {
    const folder = mkdtempSync(join(tmpdir(), 'watched-'))
    let count = 0
    return {
      collector: pick('file', { file: { paths: [folder] } }),
      provoke: () => writeFileSync(join(folder, `new-${count++}`), 'x'),
      lose: () => writeFileSync(Buffer.concat([Buffer.from(`${folder}/bad-`), Buffer.of(0xff)]), 'x'),
      cleanUp: () => rmSync(folder, { recursive: true }),
    }
  },
  withoutSource: () => pick('file', { file: { paths: ['/nonexistent'] } }),
  switchedOff: () => pick('file', { file: { enabled: false } }),
})

describeCollector('network on loopback', {
  async running() {
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const clients: ReturnType<typeof connect>[] = []
    return {
      collector: pick('network', fast),
      provoke: () => new Promise((resolve) => clients.push(connect(port, '127.0.0.1', resolve))),
      cleanUp: () => {
        for (const client of clients) client.destroy()
        server.close()
      },
    }
  },
  withoutSource: () => pick('network', {}, nowhere),
  switchedOff: () => pick('network', { network: { enabled: false } }),
})

describeCollector('network over recorded tables', {
  running() {
    const fake = new FakeProcfs()
    fake.setTable('tcp', [])
    const socket = (n: number) =>
      `   0: 0100007F:1F90 0100007F:${n.toString(16).padStart(4, '0').toUpperCase()} 01 00000000:00000000 00:00000000 00000000  1000        0 ${n + 1} 1`
    let port = 20_000
    return {
      collector: pick('network', fast, { procRoot: fake.procRoot, root: fake.root }),
      provoke: () => fake.setTable('tcp', [socket(port++)]),
      lose: () =>
        fake.setTable(
          'tcp',
          Array.from({ length: 5_010 }, (_, n) => socket(n + 30_000)),
        ),
      cleanUp: () => fake[Symbol.dispose](),
    }
  },
  withoutSource: () => pick('network', {}, { platform: 'darwin' }),
  switchedOff: () => pick('network', { network: { enabled: false } }),
})

describeCollector('logins', {
  running(): CollectorUnderTest {
    const fake = new FakeProcfs()
    fake.write(
      'var/log/auth.log',
      'Nov 24 08:00:00 host sshd[1]: Accepted password for old from 192.0.2.9 port 1 ssh2\n',
    )
    const log = join(fake.root, 'var/log/auth.log')
    return {
      collector: pick('logins', fast, { root: fake.root }),
      provoke: () =>
        appendFileSync(log, 'Nov 24 08:15:48 host sshd[123]: Failed password for root from 192.0.2.1 port 4022 ssh2\n'),
      lose: () => appendFileSync(log, `Nov 24 08:15:48 host sshd[123]: ${'x'.repeat(100_000)}\n`),
      cleanUp: () => fake[Symbol.dispose](),
    }
  },
  withoutSource: () => pick('logins', {}, nowhere),
  switchedOff: () => pick('logins', { logins: { enabled: false } }),
})

describeCollector('inventory', {
  running() {
    const fake = new FakeProcfs()
    const status = ['a', 'b', 'c'].map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: 1\n`)
    fake.write('var/lib/dpkg/status', status.join('\n'))
    return {
      collector: pick('inventory', { inventory: { max_packages: 2 } }, { root: fake.root, procRoot: fake.procRoot }),
      provoke: () => undefined,
      lose: () => undefined,
      cleanUp: () => fake[Symbol.dispose](),
    }
  },
  withoutSource: () => pick('inventory', {}, nowhere),
  switchedOff: () => pick('inventory', { inventory: { enabled: false } }),
})
