import { createHash } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FakeProcfs } from '../procfs.fake.ts'
import { parseAtJob, parseCronLine } from './cron-line.ts'
import { cronJobsSource } from './cron-jobs.ts'

let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(() => host[Symbol.dispose]())

it('finds what runs by the clock in every place that cron and at know', async () => {
  host.write(
    'etc/crontab',
    'SHELL=/bin/sh\nPATH = /bin\n# m h dom\n17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n@reboot www-data /srv/start\nnonsense\n',
  )
  host.write('etc/cron.d/app', '*/5 8-17 * jan,feb mon-fri deploy /srv/app/tick %x\n')
  host.write('etc/cron.d/app.dpkg-old', '* * * * * root /bin/old\n')
  host.write('etc/cron.d/.placeholder', '* * * * * root /bin/placeholder\n')
  host.write('var/spool/cron/crontabs/alice', '0 3 * * * /home/alice/backup --to x\n')
  host.write('etc/cron.daily/logrotate', '#!/bin/sh\necho rotate\n')
  chmodSync(join(host.root, 'etc/cron.daily/logrotate'), 0o755)
  host.write(
    'etc/anacrontab',
    'RANDOM_DELAY=45\n1\t5\tcron.daily\tnice run-parts /etc/cron.daily\n@monthly 45 cron.monthly run-parts /etc/cron.monthly\n',
  )
  const job = `#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail alice 0\numask 22\nLANG=C; export LANG\ncd /home/alice || {\n\t echo 'Execution directory inaccessible' >&2\n\t exit 1\n}\n/tmp/payload --now\n`
  host.write('var/spool/cron/atjobs/a0000101c5e2f0', job)
  const { items, troubles } = await cronJobsSource(host, 100).read()
  expect(items.map(({ facts }) => facts)).toEqual([
    {
      schedule: '17 * * * *',
      user: 'root',
      command: 'cd / && run-parts --report /etc/cron.hourly',
      file: '/etc/crontab',
    },
    { schedule: '@reboot', user: 'www-data', command: '/srv/start', file: '/etc/crontab' },
    { schedule: '*/5 8-17 * jan,feb mon-fri', user: 'deploy', command: '/srv/app/tick %x', file: '/etc/cron.d/app' },
    {
      schedule: '0 3 * * *',
      user: 'alice',
      command: '/home/alice/backup --to x',
      file: '/var/spool/cron/crontabs/alice',
    },
    {
      schedule: 'anacron every 1 days cron.daily',
      user: 'root',
      command: 'nice run-parts /etc/cron.daily',
      file: '/etc/anacrontab',
    },
    {
      schedule: 'anacron @monthly cron.monthly',
      user: 'root',
      command: 'run-parts /etc/cron.monthly',
      file: '/etc/anacrontab',
    },
    {
      schedule: 'daily',
      user: 'root',
      command: '/etc/cron.daily/logrotate',
      file: '/etc/cron.daily/logrotate',
      sha256: createHash('sha256').update('#!/bin/sh\necho rotate\n').digest('hex'),
    },
    {
      schedule: 'at 2026-07-22T21:04',
      user: '1000',
      command: '/tmp/payload --now',
      file: '/var/spool/cron/atjobs/a0000101c5e2f0',
      sha256: createHash('sha256').update(job).digest('hex'),
    },
  ])
  expect(troubles).toEqual(['1 lines of /etc/crontab are no jobs'])
})

it('sees the same job twice as two, and a changed script as changed', async () => {
  host.write('etc/crontab', '0 0 * * * root /bin/a\n0 0 * * * root /bin/a\n')
  host.write('etc/cron.daily/a', '1')
  const source = cronJobsSource(host, 100)
  const before = await source.read()
  expect(before.items).toHaveLength(3)
  const version = await source.version()
  host.write('etc/cron.daily/a', '2')
  expect(await source.version()).not.toBe(version)
  const [, , was] = before.items
  const [, , now] = (await source.read()).items
  expect(now?.key).toBe(was?.key)
  expect(now?.facts['sha256']).not.toBe(was?.facts['sha256'])
})

it('is not held up by lines of hostile length', () => {
  const startedMs = performance.now()
  for (const line of ['* '.repeat(8_000), '*,'.repeat(8_000), `@reboot${' '.repeat(16_000)}`, '9'.repeat(1_000_000)])
    parseCronLine(line, true)
  expect(parseAtJob('a0000101c5e2f0', '}\n'.repeat(100_000))).toBeDefined()
  expect(performance.now() - startedMs).toBeLessThan(2_000)
})
