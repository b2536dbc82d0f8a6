import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fitsItsSchema } from '../api/api.fixture.ts'
import { startCli } from './cli.fixture.ts'

let cli: Awaited<ReturnType<typeof startCli>>
beforeEach(async () => {
  cli = await startCli()
})
afterEach(async () => {
  await cli.door.deps.indicators.stop()
  await cli.stop()
})
function file(name: string, text: string): string {
  const path = join(cli.door.dir, name)
  writeFileSync(path, text)
  return path
}

describe('firebreak indicators', () => {
  it('takes a file in, says what was not one, lists, shows, looks up and ends', async () => {
    const path = file(
      'abuse.csv',
      'type,value,confidence\nip,203.0.113[.]9,90\ndomain,evil.example,20\nfilename,a.exe,1\n',
    )
    const took = await cli.run(['indicators', 'import', path, '--tlp', 'amber'], { role: 'analyst' })
    expect([took.code, took.out]).toEqual([8, expect.stringContaining('2 indicators of abuse.csv: 2 new, 0 over')])
    expect(took.out).toContain('1 entries are no indicators (unsupported_type)')
    const list = (await cli.run(['indicators', 'list', '--json'], { role: 'viewer' })).json() as {
      id: number
      value: string
    }[]
    expect(list).toMatchObject([
      { value: 'evil.example' },
      { value: '203.0.113.9', tlp: 'amber', confidence: 90, source: 'abuse.csv' },
    ])
    const known = await cli.run(['indicators', 'lookup', 'hxxp://x.evil[.]example/a'], { role: 'viewer' })
    expect([known.code, known.out]).toEqual([0, expect.stringContaining('evil.example')])
    expect((await cli.run(['indicators', 'lookup', 'good.example'])).code).toBe(3)
    const id = String(list[0]?.id)
    expect((await cli.run(['indicators', 'show', id])).out).toContain('evil.example (domain)')
    expect((await cli.run(['indicators', 'expire', id, '--reason', 'ours'], { role: 'analyst' })).out).toContain(
      'is over',
    )
    const over = (await cli.run(['indicators', 'list', '--expired', '--json'])).json()
    expect(over).toMatchObject([{ value: 'evil.example', expired: true }])
    const audit = await cli.door.state.db
      .selectFrom('audit')
      .select(['action', 'actor'])
      .where('object_type', 'like', 'indicator%')
      .execute()
    expect(audit).toEqual([
      { action: 'indicators.import.completed', actor: 'user:analyst-1' },
      { action: 'indicators.indicator.expired', actor: 'user:analyst-1' },
    ])
  })

  it('takes nothing of a file that ends in the middle, and asks nobody in a dry run', async () => {
    const cut = await cli.run(['indicators', 'import', file('x.json', '{"type":"bundle","objects":[{"type":"indic')])
    expect([cut.code, cut.err]).toEqual([2, expect.stringContaining('truncated')])
    const dry = await cli.run(['indicators', 'import', file('l.txt', '203.0.113.9\n'), '--dry-run'], {
      env: { FIREBREAK_TOKEN: 'wrong' },
    })
    expect([dry.code, dry.out]).toEqual([0, expect.stringContaining('nothing was sent')])
    expect((await cli.run(['indicators', 'list', '--json'])).json()).toEqual([])
  })

  it('adds one value with what is known of it, over after its time', async () => {
    const added = await cli.run([
      'indicators',
      'add',
      'evil[.]example',
      '--expires',
      '1d',
      '--description',
      'seen in a mail',
    ])
    expect(added.code).toBe(0)
    const [one] = (await cli.run(['indicators', 'list', '--json'])).json() as object[]
    expect(one).toMatchObject({
      source: 'manual',
      valid_until: '2026-11-25T12:05:00.000Z',
      description: 'seen in a mail',
    })
    expect((await cli.run(['indicators', 'add', 'nothing'])).code).toBe(2)
  })

  it('lets viewers look, analysts write, engineers add feeds', async () => {
    const add = ['indicators', 'add', '203.0.113.9']
    expect((await cli.run(add, { role: 'viewer' })).code).toBe(5)
    expect((await cli.run(add, { role: 'analyst' })).code).toBe(0)
    const feed = ['indicators', 'feeds', 'add', 'f', 'http://127.0.0.1:9/list', '--kind', 'list']
    expect((await cli.run(feed, { role: 'analyst' })).code).toBe(5)
    expect((await cli.run(feed, { role: 'engineer' })).code).toBe(0)
    expect((await cli.run(feed, { role: 'engineer' })).err).toContain('feed_exists')
    const fetched = await cli.run(['indicators', 'feeds', 'fetch', 'f'], {
      onSleep: () => new Promise((resolve) => setTimeout(resolve, 20)),
    })
    expect([fetched.code, fetched.err]).toEqual([1, expect.stringContaining('unreachable')])
    expect((await cli.run(['indicators', 'feeds', 'list'])).out).toContain('unreachable')
    expect((await cli.run(['indicators', 'feeds', 'remove', 'f'], { role: 'engineer' })).code).toBe(0)
  })

  it('says what a STIX pattern comes down to, and whether it holds over what was observed', async () => {
    const pattern = "[ipv4-addr:value = '203.0.113.9'] REPEATS 2 TIMES"
    const seen = {
      type: 'observed-data',
      first_observed: '2026-01-01T00:00:00Z',
      last_observed: '2026-01-01T00:00:00Z',
      number_observed: 2,
      objects: { '0': { type: 'ipv4-addr', value: '203.0.113.9' } },
    }
    const ran = await cli.run(['indicators', 'pattern', pattern, '--observed', file('seen.json', JSON.stringify(seen))])
    expect([ran.code, ran.out]).toEqual([
      0,
      'cannot be matched on the stream: it needs repetitions\nholds over the observed data\n',
    ])
    expect(
      (await cli.run(['indicators', 'pattern', "[domain-name:value = 'Evil[.]example']", '--json'])).json(),
    ).toMatchObject({ values: [{ value: 'evil.example' }], matches: null })
    expect((await cli.run(['indicators', 'pattern', '[broken'])).code).toBe(2)
  })

  it('answers as the API documents it', async () => {
    await cli.run(['indicators', 'add', '203.0.113.9'])
    await cli.run(['indicators', 'feeds', 'add', 'f', 'http://127.0.0.1:9/list', '--kind', 'list'])
    for (const [url, path] of [
      ['/api/v1/indicators', '/api/v1/indicators'],
      ['/api/v1/indicators/lookup?value=203.0.113.9', '/api/v1/indicators/lookup'],
      ['/api/v1/indicators/1', '/api/v1/indicators/:id'],
      ['/api/v1/indicators/patterns', '/api/v1/indicators/patterns'],
      ['/api/v1/indicators/hunts', '/api/v1/indicators/hunts'],
      ['/api/v1/indicator-feeds', '/api/v1/indicator-feeds'],
    ] as const) {
      const answer = await cli.door.ask('viewer', { url })
      expect([url, answer.statusCode, fitsItsSchema(cli.door.api, 'GET', path, 200, answer.json())]).toEqual([
        url,
        200,
        [],
      ])
    }
  })
})
