import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from './config.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fb-config-'))
  mkdirSync(join(dir, 'conf.d'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const load = (
  yaml: string | undefined,
  more: {
    dropIns?: Record<string, string>
    environment?: Record<string, string>
    flags?: Record<string, unknown>
  } = {},
) => {
  const file = join(dir, 'controller.yaml')
  if (yaml !== undefined) writeFileSync(file, yaml)
  for (const [name, text] of Object.entries(more.dropIns ?? {})) writeFileSync(join(dir, 'conf.d', name), text)
  return loadConfig({
    file,
    fileRequired: false,
    dropInDir: join(dir, 'conf.d'),
    environment: more.environment ?? {},
    ...(more.flags ? { flags: more.flags } : {}),
  })
}

describe('the configuration', () => {
  it('is whole without any file', () => {
    const loaded = load(undefined)
    expect(loaded).toMatchObject({
      ok: true,
      value: { config: { gateway: { port: 8421, public: [] }, state_dir: '/var/lib/firebreak' } },
    })
  })

  it('lets a flag win over the environment, that over a drop-in, that over the file, that over the default', () => {
    const loaded = load('gateway:\n  host: file\n  port: 1\n  public: [a:1]\n  batches_at_once: 2\n', {
      dropIns: { '10-a.yaml': 'gateway: { port: 2, batches_at_once: 3 }\n', '20-b.yaml': 'gateway: { port: 3 }\n' },
      environment: { FIREBREAK_GATEWAY_PORT: '4', FIREBREAK_GATEWAY_PUBLIC: 'b:2, c:3', HOME: '/' },
      flags: { 'gateway.port': 5 },
    })
    if (!loaded.ok) throw new Error(loaded.why)
    expect(loaded.value.config.gateway).toMatchObject({
      host: 'file',
      port: 5,
      public: ['b:2', 'c:3'],
      batches_at_once: 3,
      preauth_sockets: 512,
    })
    const { origins } = loaded.value
    expect(origins.get('gateway.port')).toBe('flag')
    expect(origins.get('gateway.public')).toBe('FIREBREAK_GATEWAY_PUBLIC')
    expect(origins.get('gateway.batches_at_once')).toBe(`${join(dir, 'conf.d', '10-a.yaml')}:1`)
    expect(origins.get('gateway.host')).toBe(`${join(dir, 'controller.yaml')}:2`)
    expect(origins.get('gateway.preauth_sockets')).toBe('default')
  })

  it.each([
    ['gateway:\n  prot: 1\n', /controller\.yaml:2: unknown key gateway\.prot; did you mean gateway\.port\?/],
    ['gatway:\n  port: 1\n', /controller\.yaml:1: unknown key gatway; did you mean gateway\?/],
    ['gateway:\n  host: a\n  port: 70000\n', /controller\.yaml:3: gateway\.port /],
    ['gateway:\n  public: [nowhere]\n', /controller\.yaml:2: gateway\.public\.0 /],
    ['gateway: 3\n', /controller\.yaml:1: gateway\. must hold keys and values/],
    ['a: [1\n', /controller\.yaml:\d+: /],
    ['state_dir: a\nstate_dir: b\n', /controller\.yaml:\d: Map keys must be unique/],
  ])('names the file, the line and the nearest key for what it cannot take: %j', (yaml, why) => {
    const loaded = load(yaml)
    expect(loaded).toMatchObject({ ok: false, code: 'bad_config', why: expect.stringMatching(why) as string })
  })

  it('does not let a misspelt variable pass in silence', () => {
    expect(load(undefined, { environment: { FIREBREAK_GATEWAY_PROT: '1' } })).toMatchObject({
      ok: false,
      why: 'unknown key FIREBREAK_GATEWAY_PROT; did you mean FIREBREAK_GATEWAY_PORT?',
    })
    expect(load(undefined, { environment: { FIREBREAK_GATEWAY_PORT: 'many', FIREBREAK_TOKEN: 'x' } })).toMatchObject({
      ok: false,
      why: expect.stringMatching(/^FIREBREAK_GATEWAY_PORT: gateway\.port /) as string,
    })
  })
})
