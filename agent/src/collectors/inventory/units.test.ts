import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { findProgram } from '../../platform/linux/program.ts'
import { FakeProcfs } from '../procfs.fake.ts'
import { unitsSource } from './units.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())

const link = (target: string, path: string) => {
  mkdirSync(dirname(join(host.root, path)), { recursive: true })
  symlinkSync(target, join(host.root, path))
}
const read = async () => {
  const { items, troubles } = await unitsSource(host, 1_000).read()
  expect(troubles).toEqual([])
  return new Map(items.map(({ key, facts }) => [key, facts]))
}

function furnish(): void {
  const lib = 'usr/lib/systemd/system'
  const install = '[Install]\nWantedBy=multi-user.target\n'
  host.write(`${lib}/on.service`, `[Service]\nExecStart=/bin/on \\\n  --fast\nUser=www\n${install}`)
  host.write(`${lib}/off.service`, `[Service]\nExecStart=/bin/off\n${install}`)
  host.write(`${lib}/static.service`, '[Service]\nExecStart=/bin/static\n')
  host.write(`${lib}/gone.service`, `[Service]\nExecStart=/bin/gone\n${install}`)
  host.write(`${lib}/getty@.service`, `[Service]\nExecStart=/sbin/agetty %I\n${install}`)
  host.write(
    `${lib}/daily.timer`,
    '[Timer]\nOnCalendar=daily\nOnCalendar=*-*-* 06:00\nUnit=static.service\n[Install]\nWantedBy=timers.target\n',
  )
  host.write(`${lib}/wanted-by-package.service`, '[Service]\nExecStart=/bin/x\n')
  link('../wanted-by-package.service', `${lib}/multi-user.target.wants/wanted-by-package.service`)
  link('/usr/lib/systemd/system/on.service', 'etc/systemd/system/multi-user.target.wants/on.service')
  link('/usr/lib/systemd/system/getty@.service', 'etc/systemd/system/getty.target.wants/getty@tty1.service')
  link('/usr/lib/systemd/system/daily.timer', 'etc/systemd/system/timers.target.wants/daily.timer')
  link('/dev/null', 'etc/systemd/system/gone.service')
  link('/usr/lib/systemd/system/on.service', 'etc/systemd/system/alias.service')
  host.write(
    'etc/systemd/system/off.service.d/override.conf',
    '[Service]\nExecStart=\nExecStart=/tmp/evil\n# ExecStart=/no\n',
  )
}

it('tells of each unit what it starts, drop-ins applied, and whether it starts by itself', async () => {
  furnish()
  const units = await read()
  expect(Object.fromEntries([...units].map(([name, { enabled }]) => [name, enabled]))).toEqual({
    'on.service': 'enabled',
    'off.service': 'disabled',
    'static.service': 'static',
    'gone.service': 'masked',
    'getty@.service': 'disabled',
    'getty@tty1.service': 'enabled',
    'daily.timer': 'enabled',
    'wanted-by-package.service': 'static',
  })
  expect(units.get('on.service')).toMatchObject({
    exec_start: ['/bin/on  --fast'],
    user: 'www',
    path: '/usr/lib/systemd/system/on.service',
    type: 'service',
  })
  expect(units.get('off.service')).toMatchObject({ exec_start: ['/tmp/evil'] })
  expect(units.get('daily.timer')).toMatchObject({ on_calendar: ['daily', '*-*-* 06:00'], starts: 'static.service' })
})

it.skipIf(findProgram('systemctl') === undefined)('agrees with systemctl on what is enabled', async () => {
  furnish()
  for (const [name, { enabled }] of await read()) {
    if (name === 'getty@.service') continue // systemctl calls a template enabled when an instance is; here the instance is
    const shown = execFileSync('sh', ['-c', 'systemctl --root="$1" is-enabled "$2" || true', 'sh', host.root, name], {
      encoding: 'utf8',
    })
    expect(`${name} ${shown.trim()}`).toBe(`${name} ${String(enabled)}`)
  }
})

it('sees another unit in an instance, a runtime link and a file of the administrator over the packaged one', async () => {
  host.write('usr/lib/systemd/system/a.service', '[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=x.target\n')
  link('/usr/lib/systemd/system/a.service', 'run/systemd/system/x.target.wants/a.service')
  const source = unitsSource(host, 10)
  expect((await read()).get('a.service')).toMatchObject({ enabled: 'enabled-runtime', exec_start: ['/bin/a'] })
  const version = await source.version()
  host.write('etc/systemd/system/a.service', '[Service]\nExecStart=/tmp/a\n')
  expect(await source.version()).not.toBe(version)
  expect((await read()).get('a.service')).toMatchObject({
    exec_start: ['/tmp/a'],
    path: '/etc/systemd/system/a.service',
  })
})
