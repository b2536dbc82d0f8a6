import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CommandId } from '@firebreak/shared/ids.ts'
import { COMMAND_STATES, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AGENT, commandRow, OTHER_AGENT } from '../api/api.fixture.ts'
import { seedIncident } from '../api/incident.fixture.ts'
import { PROBLEMS } from '../api/problem.ts'
import { runWith, startCli } from './cli.fixture.ts'
import { EXIT_CODES, EXIT_OF_PROBLEM, exitOfState } from './exit-codes.ts'

type Running = Awaited<ReturnType<typeof startCli>>
let cli: Running
beforeEach(async () => {
  cli = await startCli()
})
afterEach(async () => {
  await cli.stop()
})

/** Moves the newest command on as an agent's receipts would. */
async function setState(state: string, more: Readonly<Record<string, unknown>> = {}) {
  await cli.door.state.write(async (tx) => {
    const { id } = await tx.selectFrom('commands').select('id').orderBy('id', 'desc').executeTakeFirstOrThrow()
    await tx
      .updateTable('commands')
      .set({ state, ...more })
      .where('id', '=', id)
      .execute()
    const last = await tx
      .selectFrom('command_transitions')
      .select('n')
      .where('command_id', '=', id)
      .orderBy('n', 'desc')
      .executeTakeFirst()
    const at = '2026-11-24T12:00:01.000Z'
    await tx
      .insertInto('command_transitions')
      .values({ command_id: id, n: (last?.n ?? 0) + 1, state, at, detail: '{}' })
      .execute()
  })
}

describe('an exit code', () => {
  it('is one of the documented ones, each different, and the help lists them all', async () => {
    const codes = Object.values(EXIT_CODES).map(({ code }) => code)
    expect(new Set(codes).size).toBe(codes.length)
    const help = await cli.run(['--help'])
    expect(help.code).toBe(0)
    for (const { code, meaning } of Object.values(EXIT_CODES)) expect(help.out).toContain(`${code}  ${meaning}`)
  })

  it('exists for every problem of the API and every state of a command; only a proved effect is a zero', () => {
    expect(Object.keys(EXIT_OF_PROBLEM).toSorted()).toEqual(Object.keys(PROBLEMS).toSorted())
    for (const state of COMMAND_STATES) {
      expect(exitOfState(state) === 'ok', state).toBe(state === 'verified')
      if (!FINAL_STATES.has(state)) expect(exitOfState(state)).toBe('timed_out')
    }
  })

  it.each([
    [['hosts', 'show', 'nobody'], 3],
    [['hosts', 'shw'], 2],
    [['isolate'], 2],
    [['isolate', 'web-1', '--hold', 'long', '--yes'], 2],
    [['events', 'search', 'nonsense:'], 2],
    [['events', 'search', '--since', 'tomorrowish'], 2],
    [['commands', 'show', '01a20d6d-5b90-7c9b-8378-2e328fd2af15'], 3],
    [['hosts', 'list', '--output', 'xml'], 2],
  ])('tells what kind of failure it was: firebreak %j ends with %i', async (argv, code) => {
    await cli.door.addHost(AGENT, 'web-1')
    const ran = await cli.run(argv)
    expect(ran.code, ran.err).toBe(code)
    expect(ran.out).toBe('')
    expect(ran.err).not.toBe('')
  })

  it('is 5 for a wrong, missing or too weak token, and 6 when nobody answers', async () => {
    expect((await cli.run(['hosts', 'list'], { env: { FIREBREAK_TOKEN: `fb_pat_${'A'.repeat(43)}` } })).code).toBe(5)
    expect((await cli.run(['tokens', 'list'], { role: 'viewer' })).code).toBe(5)
    const empty = mkdtempSync(join(tmpdir(), 'fb-cli-'))
    expect((await runWith(['hosts', 'list'], { FIREBREAK_API: cli.url, FIREBREAK_STATE_DIR: empty }, empty)).code).toBe(
      5,
    )
    const down = await cli.run(['hosts', 'list'], { env: { FIREBREAK_API: 'http://127.0.0.1:9' } })
    expect([down.code, down.err]).toEqual([6, expect.stringContaining('no controller answers at http://127.0.0.1:9')])
    rmSync(empty, { recursive: true })
  })
})

describe('a token', () => {
  it('is found in the state directory of a controller on this machine', async () => {
    writeFileSync(join(cli.door.dir, 'admin.token'), `${cli.door.secretOf('admin')}\n`, { mode: 0o600 })
    writeFileSync(join(cli.door.dir, 'api.url'), `${cli.url}\n`)
    const ran = await runWith(['hosts', 'list', '--state-dir', cli.door.dir, '--json'], {}, '/')
    expect([ran.code, ran.out]).toEqual([0, '[]\n'])
    const byEnvironment = await runWith(['hosts', 'list', '--json'], { FIREBREAK_STATE_DIR: cli.door.dir }, '/')
    expect(byEnvironment.code).toBe(0)
  })

  it('never goes out in the clear to another machine', async () => {
    const ran = await cli.run(['hosts', 'list', '--api', 'http://192.0.2.55:8420'])
    expect([ran.code, ran.err]).toEqual([2, expect.stringContaining('a token is not sent in the clear')])
  })

  it('is not in what an error says', async () => {
    const ran = await cli.run(['hosts', 'show', 'x'])
    expect(ran.err + ran.out).not.toContain(cli.door.secretOf('admin'))
  })
})

describe('an answer that is not from a controller', () => {
  let server: ReturnType<typeof createServer>
  let body = ''
  beforeAll(async () => {
    server = createServer((_request, response) => response.end(body))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(() => void server.close())

  it('is a failure with a reason, not a crash', async () => {
    body = '<html>It works!</html>'
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const ran = await cli.run(['hosts', 'list'], { env: { FIREBREAK_API: `http://127.0.0.1:${port}` } })
    expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('not the API of a Firebreak controller')])
  })
})

describe('a host on the command line', () => {
  beforeEach(async () => {
    await cli.door.addHost(AGENT, 'web-1')
    await cli.door.addHost(OTHER_AGENT, 'twin')
    await cli.door.addHost('bbbbccccccccddddeeeeffff44', 'twin')
  })

  it.each([
    ['its name', 'web-1', AGENT],
    ['its name in other case', 'WEB-1', AGENT],
    ['its agent id', AGENT, AGENT],
    ['the beginning of its agent id', AGENT.slice(0, 6), AGENT],
  ])('is found by %s', async (_how, text, agentId) => {
    expect((await cli.run(['hosts', 'show', text, '--json'])).json()).toMatchObject({ agent_id: agentId })
  })

  it('is never guessed: two of one name, or of one beginning, are both named', async () => {
    for (const text of ['twin', 'bbbb']) {
      const ran = await cli.run(['isolate', text, '--yes'])
      expect(ran.code).toBe(2)
      expect(ran.err).toContain(OTHER_AGENT)
      expect(ran.err).toContain('bbbbccccccccddddeeeeffff44')
    }
    expect((await cli.run(['commands', 'list', '--json'])).json()).toEqual([])
  })
})

describe('isolate', () => {
  beforeEach(async () => {
    await cli.door.addHost(AGENT, 'web-1')
  })

  it('does nothing without --yes where nobody can answer, and asks where somebody can', async () => {
    const alone = await cli.run(['isolate', 'web-1'])
    expect([alone.code, alone.err]).toEqual([2, expect.stringContaining('--yes')])
    const no = await cli.run(['isolate', 'web-1'], { answer: '' })
    expect([no.code, no.err]).toEqual([1, expect.stringContaining('nothing was done')])
    expect(cli.asked[0]).toContain('Isolate web-1 for 4h')
    expect((await cli.run(['commands', 'list', '--json'])).json()).toEqual([])
    const yes = await cli.run(['isolate', 'web-1', '--no-wait', '--json'], { answer: 'y' })
    expect(yes.json()).toMatchObject({ type: 'isolate-host', args: { hold_s: 14_400, on_controller_loss: 'release' } })
  })

  it('only says what it would do in a dry run', async () => {
    const ran = await cli.run(['isolate', 'web-1', '--dry-run'])
    expect(ran.code).toBe(0)
    expect(ran.out).toContain('Would isolate web-1 for 4h; nothing was done.')
    expect((await cli.run(['commands', 'list', '--json'])).json()).toEqual([])
  })

  it('ends with 0 only when a probe saw the effect, after telling each state', async () => {
    const life = ['delivered', 'accepted', 'applied', 'verified']
    const evidence = JSON.stringify({
      applied_ms: 20,
      probes: [{ name: 'tcp-new', target: '192.0.2.9:80', expected: 'blocked', found: 'blocked' }],
    })
    const ran = await cli.run(['isolate', 'web-1', '--yes', '--hold', '30m', '--reason', 'drill'], {
      onSleep: async (n) => {
        const state = life[n]
        if (state) await setState(state, state === 'verified' ? { evidence } : {})
      },
    })
    expect(ran.code, ran.err).toBe(0)
    for (const state of life) expect(ran.err).toContain(`isolate web-1 for 30m  ${state}`)
    expect(ran.out).toMatch(/tcp-new\s+192\.0\.2\.9:80\s+blocked\s+blocked/)
  })

  it.each([
    ['refuted', 9, { code: 'effect_refuted', why: 'udp got through' }],
    ['refused', 4, { code: 'above_ceiling', why: 'this host is observed only' }],
    ['failed', 1, { code: 'not_confirmed', why: 'no round trip within 15 s' }],
    ['unknown', 10, {}],
    ['cancelled', 1, {}],
    ['expired', 7, {}],
    ['reverted', 1, { code: 'lapsed', why: 'the hold is over' }],
  ])('that ends %s ends with %i and says why', async (state, code, outcome) => {
    const ran = await cli.run(['isolate', 'web-1', '--yes'], {
      onSleep: async (n) => (n === 0 ? await setState(state, outcome) : undefined),
    })
    expect(ran.code).toBe(code)
    for (const text of Object.values(outcome)) expect(ran.out).toContain(text)
  })

  it('stops waiting after its time, says that the order goes on, and ends with 7', async () => {
    const ran = await cli.run(['isolate', 'web-1', '--yes', '--timeout', '5s'])
    expect(ran.code).toBe(7)
    expect(ran.err).toContain('not finished (waiting for the host); it goes on')
    expect((await cli.run(['commands', 'list', '--json'])).json()).toMatchObject([{ state: 'queued' }])
  })

  it('gives one command for one key, however often it is run', async () => {
    const argv = ['isolate', 'web-1', '--yes', '--no-wait', '--idempotency-key', 'ticket-7', '-o', 'raw']
    const [first, second] = [await cli.run(argv), await cli.run(argv)]
    expect(first.out).toBe(second.out)
    expect((await cli.run(['commands', 'list', '--json'])).json()).toHaveLength(1)
  })

  it('is refused to a viewer, with the exit code of missing rights', async () => {
    expect((await cli.run(['isolate', 'web-1', '--yes'], { role: 'viewer' })).code).toBe(5)
  })
})

describe('kill', () => {
  it('orders exactly this process', async () => {
    await cli.door.addHost(AGENT, 'web-1')
    const ran = await cli.run(['kill', 'web-1', '4122', '--tree', '--entity-id', 'p3', '--yes', '--no-wait', '--json'])
    expect(ran.json()).toMatchObject({ type: 'kill-process', args: { pid: 4122, tree: true, entity_id: 'p3' } })
    for (const pid of ['1', '0', '-5', 'init', '4294967296']) {
      const refused = await cli.run(['kill', 'web-1', '--yes', '--', pid])
      expect([refused.code, refused.err]).toEqual([2, expect.stringContaining(`${pid} is not a process id`)])
    }
  })
})

describe('join-token create', () => {
  it('prints the join string alone for a script, and the ready command line for a person', async () => {
    const raw = await cli.run(['join-token', 'create', '--raw'])
    expect(raw.out).toMatch(/^fb1\.[\w-]{43}\.[\w-]{43}\n$/)
    expect(raw.err).toBe('')
    const person = await cli.run(['join-token', 'create', '--uses', '3', '--life', '2h'])
    expect(person.out).toMatch(/^firebreak-agent enroll --controller https:\/\/192\.0\.2\.1:8421 --join fb1\./)
    expect(person.err).toContain('Lets 3 hosts join the group default within 2h')
  })
})

describe('hosts set', () => {
  it('adds to what was there and keeps the rest', async () => {
    await cli.door.addHost(AGENT, 'web-1', { tags: '["old"]' })
    await cli.run(['hosts', 'set', 'web-1', '--tag', 'a', '--tag', 'b', '--protected', '--reason', 'mine'])
    const shown = (await cli.run(['hosts', 'set', 'web-1', '--untag', 'a', '--json'])).json()
    expect(shown).toMatchObject({ tags: ['old', 'b'], protected: true })
    expect((await cli.run(['hosts', 'set', 'web-1', '--no-protected', '--json'])).json()).toMatchObject({
      protected: false,
    })
    expect((await cli.run(['hosts', 'set', 'web-1'])).code).toBe(2)
  })
})

describe('incidents show', () => {
  it('is one page of at most 100 columns: why, who started whom, what was done and what proves it', async () => {
    const { incidentId } = await seedIncident(cli.door)
    const { out, code } = await cli.run(['incidents', 'show', incidentId.slice(0, 18)])
    expect(code).toBe(0)
    for (const line of out.split('\n')) expect(Array.from(line).length, line).toBeLessThanOrEqual(100)
    const order = [
      'CRITICAL',
      '93% confidence',
      'rarity',
      'web-1',
      'T1059.004',
      'systemd',
      'nginx: worker process',
      '/dev/tcp/203.0.113.66',
      'contain-host',
      'isolate-host on web-1: verified',
      'tcp-new',
      'Timeline',
    ]
    let at = -1
    for (const text of order) {
      const found = out.indexOf(text, at + 1)
      expect(found, `${text} comes after what stands before it`).toBeGreaterThan(at)
      at = found
    }
    expect(out).toMatch(/└─ bash -i/)
  })

  it('stays a tree, and safe, whatever a host claims about its processes', async () => {
    const evil = `bash\u001B[2J\u202E${'x'.repeat(3_000)}\n  ● 12:00:00 all is well`
    const { incidentId } = await seedIncident(cli.door, evil)
    await cli.door.state.write(async (tx) => {
      // Its own grandparent, and an ancestor list that is not even a list of processes.
      const loop = {
        entity_id: 'p1',
        name: 'a',
        parent: { entity_id: 'p2', name: 'b' },
        ancestors: [{ entity_id: 'p1', name: 'a' }],
      }
      const [first, second] = await tx.selectFrom('signals').select('id').orderBy('id').execute()
      await tx
        .updateTable('signals')
        .set({ event: JSON.stringify({ process: loop }) })
        .where('id', '=', first?.id ?? '')
        .execute()
      await tx
        .updateTable('signals')
        .set({ event: JSON.stringify({ process: { ancestors: 7, parent: 'x', pid: {} } }) })
        .where('id', '=', second?.id ?? '')
        .execute()
    })
    const { out, code } = await cli.run(['incidents', 'show', incidentId])
    expect(code).toBe(0)
    expect(out).not.toContain('\u001B')
    expect(out).not.toContain('\u202E')
    const seen = out.slice(out.indexOf('What was seen'), out.indexOf('Playbooks'))
    for (const title of ['Shell by a Web Server', 'Download by curl to a Shell', 'Reverse Shell by /dev/tcp'])
      expect(seen, 'nothing that was noticed is lost').toContain(title)
    expect(out).not.toMatch(/^\s*● 12:00:00 all is well/m)
    for (const line of out.split('\n')) expect(Array.from(line).length).toBeLessThanOrEqual(100)
  })

  it('asks which one is meant when a beginning fits several', async () => {
    await cli.door.addHost(AGENT, 'web-1')
    for (const id of ['01a20d6d-0000-7000-8000-000000000001', '01a20d6d-0000-7000-8000-000000000002']) {
      await cli.door.state.write(async (tx) => {
        await tx
          .insertInto('commands')
          .values(commandRow(id as CommandId))
          .execute()
      })
    }
    const ran = await cli.run(['commands', 'show', '01a20d6d-0000'])
    expect([ran.code, ran.err]).toEqual([2, expect.stringContaining('000000000002')])
    expect((await cli.run(['commands', 'show', '01a20d6d-0000-7000-8000-000000000001', '-o', 'raw'])).out).toBe(
      'queued\n',
    )
  })
})

describe('incidents verdict', () => {
  it('closes it with the reason', async () => {
    const { incidentId } = await seedIncident(cli.door)
    const { out: before } = await cli.run(['incidents', 'show', incidentId])
    const ran = await cli.run(['incidents', 'verdict', incidentId, 'benign', '--reason', 'a drill', '--json'], {
      role: 'analyst',
    })
    expect(ran.json()).toMatchObject({ verdict: 'benign', status: 'closed' })
    const { out: after } = await cli.run(['incidents', 'show', incidentId])
    expect(after).toContain('verdict: none → benign (a drill)')
    expect(before).toContain(`firebreak incidents verdict ${incidentId.slice(0, 18)} true_positive|`)
    expect(after, 'what is judged asks for nothing more').not.toContain('firebreak incidents verdict')
    expect((await cli.run(['incidents', 'verdict', incidentId, 'maybe'])).code).toBe(2)
  })
})

describe('audit verify', () => {
  it('recomputes the chain itself, from the controller or from a file, and fails on one changed letter', async () => {
    const fine = await cli.run(['audit', 'verify', '--json'])
    expect([fine.code, fine.json()]).toMatchObject([0, { ok: true, records: 5 }])
    const file = join(cli.door.dir, 'export.ndjson')
    writeFileSync(file, (await cli.run(['audit', 'export'])).out)
    expect((await runWith(['audit', 'verify', '--file', file], {}, '/')).code, 'without any controller').toBe(0)
    writeFileSync(file, readFileSync(file, 'utf8').replace('access.token.created', 'access.token.createD'))
    const broken = await runWith(['audit', 'verify', '--file', file], {}, '/')
    expect([broken.code, broken.out]).toEqual([1, expect.stringContaining('record 1 does not hold')])
    writeFileSync(file, 'not json\n')
    expect((await runWith(['audit', 'verify', '--file', file], {}, '/')).code).toBe(1)
    expect((await runWith(['audit', 'verify', '--file', '/nowhere'], {}, '/')).code).toBe(2)
  })
})

describe('output', () => {
  it('is data on standard output and talk on standard error, in every form', async () => {
    await cli.door.addHost(AGENT, 'web-1')
    expect((await cli.run(['hosts', 'list', '-o', 'raw'])).out).toBe(`${AGENT}\n`)
    expect((await cli.run(['hosts', 'list', '-o', 'ndjson'])).json()).toMatchObject({ hostname: 'web-1' })
    expect((await cli.run(['hosts', 'list', '-o', 'yaml'])).out).toContain('hostname: web-1')
    expect((await cli.run(['--json', 'hosts', 'list'])).json(), 'shared options come before or after').toHaveLength(1)
    const none = await cli.run(['incidents', 'list'])
    expect([none.out, none.err]).toEqual(['', expect.stringMatching(/^No incidents\. .*firebreak events search/)])
    expect((await cli.run(['incidents', 'list', '--json'])).json()).toEqual([])
  })

  it('has no colour unless it is wanted', async () => {
    await cli.door.addHost(AGENT, 'web-1')
    expect((await cli.run(['hosts', 'list'])).out).not.toContain('\u001B')
    expect((await cli.run(['hosts', 'list'], { colors: true })).out).toContain('\u001B[')
  })
})

describe('config show', () => {
  it('tells where each value comes from, and names what cannot be taken', async () => {
    const file = join(cli.door.dir, 'controller.yaml')
    writeFileSync(file, 'api:\n  port: 9000\n')
    const env = { FIREBREAK_GATEWAY_PORT: '9001' }
    const shown = await runWith(['config', 'show', '--config', file, '--origin', '--json'], env, '/')
    const rows = shown.json()
    expect(rows).toContainEqual({ key: 'api.port', value: 9000, origin: expect.stringContaining('controller.yaml:2') })
    expect(rows).toContainEqual({ key: 'gateway.port', value: 9001, origin: 'FIREBREAK_GATEWAY_PORT' })
    expect(rows).toContainEqual({ key: 'api.host', value: '127.0.0.1', origin: 'default' })
    writeFileSync(file, 'api:\n  prot: 9000\n')
    const bad = await runWith(['config', 'show', '--config', file], {}, '/')
    expect([bad.code, bad.err]).toEqual([2, expect.stringContaining('did you mean')])
  })
})
