import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from './disk/temporary-folder.fake.ts'
import { loadConfig } from './config.ts'

function folder(files: Readonly<Record<string, string>>): string {
  const dir = temporaryFolder()
  mkdirSync(join(dir, 'conf.d'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text)
  return join(dir, 'agent.yaml')
}

it('has a default for everything, so that an empty configuration is a good one', () => {
  const loaded = loadConfig({ path: folder({}), env: {} })
  expect(loaded).toMatchObject({
    ok: true,
    value: { config: { state_dir: '/var/lib/firebreak-agent', spool: { max_bytes: 536_870_912 } } },
  })
})

it('lets flags win over the environment, that over drop-ins in name order, and those over the file', () => {
  const path = folder({
    'agent.yaml': 'state_dir: /a\nlog: { level: error }\nspool:\n  max_bytes: 20000000\nceiling: /c1\n',
    'conf.d/10-first.yaml': 'spool: { max_bytes: 30000000 }\nceiling: /c2\n',
    'conf.d/20-second.yaml': 'ceiling: /c3\n',
    'conf.d/controller-http.yaml': 'not_for_agents: true\n',
  })
  const loaded = loadConfig({
    path,
    env: { FIREBREAK_SPOOL_MAX_BYTES: '40000000', FIREBREAK_CONTROLLERS: 'https://a:1, https://b:2' },
    flags: new Map([['log.level', 'debug']]),
  })
  expect(loaded.ok && loaded.value.config).toMatchObject({
    state_dir: '/a',
    ceiling: '/c3',
    log: { level: 'debug' },
    spool: { max_bytes: 40_000_000 },
    controllers: ['https://a:1', 'https://b:2'],
  })
  expect(loaded.ok && loaded.value.origins.get('state_dir')).toBe(`${path}:1`)
  expect(loaded.ok && loaded.value.origins.get('spool.max_bytes')).toBe('FIREBREAK_SPOOL_MAX_BYTES')
})

it('names the line of an unknown key and the key that was probably meant', () => {
  const path = folder({ 'agent.yaml': '# ours\nspool:\n  max_byte: 20000000\n' })
  expect(loadConfig({ path, env: {} })).toMatchObject({
    ok: false,
    code: 'bad_config',
    why: `${path}:3: there is no setting spool.max_byte; did you mean max_bytes?`,
  })
})

it('names the place of a wrong value, wherever it was set', () => {
  const path = folder({ 'agent.yaml': 'spool:\n  max_bytes: lots\nlog:\n  level: loud\n' })
  const loaded = loadConfig({ path, env: { FIREBREAK_LINK_RECONNECT_MIN_MS: '1' } })
  expect(loaded.ok ? '' : loaded.why.split('\n')).toEqual([
    `${path}:4: log.level must be equal to one of the allowed values: trace, debug, info, warn, error`,
    'FIREBREAK_LINK_RECONNECT_MIN_MS: link.reconnect_min_ms must be >= 50',
    `${path}:2: spool.max_bytes must be integer`,
  ])
})

it('refuses broken YAML, equal keys and a missing file that was named by hand', () => {
  for (const text of ['a: [', 'state_dir: /a\nstate_dir: /b\n', '- list\n', 'state_dir: "\\q"\n'])
    expect(loadConfig({ path: folder({ 'agent.yaml': text }), env: {} })).toMatchObject({ ok: false })
  expect(loadConfig({ path: '/nowhere/agent.yaml', env: {}, required: true })).toMatchObject({ ok: false })
})
