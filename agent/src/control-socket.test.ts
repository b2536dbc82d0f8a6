import { existsSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { ok } from '@firebreak/shared/result.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type ControlAnswer,
  type ControlRequest,
  type ControlSocket,
  askAgent,
  listenForControl,
} from './control-socket.ts'
import { temporaryFolder } from './disk/temporary-folder.fake.ts'

const path = join(temporaryFolder(), 'run', 'agent.sock')
let handled: ControlRequest[] = []
let answer: (request: ControlRequest) => Promise<ControlAnswer>
let open: ControlSocket

beforeEach(async () => {
  handled = []
  answer = async () => ok('here')
  const listening = await listenForControl(path, (request) => {
    handled.push(request)
    return answer(request)
  })
  if (!listening.ok) throw new Error(listening.why)
  open = listening.value
})
afterEach(() => open.close())

/** Says exactly this and returns what came back before the other side closed. */
function say(bytes: string | Buffer, { end = true } = {}): Promise<string> {
  return new Promise((resolve) => {
    let heard = ''
    const socket = connect(path)
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString('utf8')))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(heard))
    if (end) socket.end(bytes)
    else socket.write(bytes)
  })
}

describe('the door for root on this host', () => {
  it('belongs to its owner only, from the first moment on', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('hands over what it knows and nothing else', async () => {
    expect(await askAgent(path, { verb: 'status' }, 5_000)).toEqual(ok('here'))
    for (const nonsense of [
      '',
      '{',
      '{"verb":"reboot"}',
      '{"verb":"status","x":1}',
      '{"verb":"status","verb":"release"}',
    ])
      expect(JSON.parse(await say(nonsense))).toMatchObject({ ok: false, code: 'malformed' })
    expect(handled).toEqual([{ verb: 'status' }])
  })

  it('hangs up on a request that is too long, without reading it to its end', async () => {
    const long = `{"verb":"release","code":"${'x'.repeat(8_192)}"}`
    expect(await say(long)).toBe('')
    expect(handled).toEqual([])
    expect(await askAgent(path, { verb: 'release', code: 'x'.repeat(257) }, 5_000)).toMatchObject({ code: 'malformed' })
  })

  it('hangs up on who never finishes the question', { timeout: 15_000 }, async () => {
    const before = performance.now()
    expect(await say('{"verb":', { end: false })).toBe('')
    expect(performance.now() - before).toBeGreaterThan(4_000)
    expect(handled).toEqual([])
  })

  it('serves sixteen at once and turns the seventeenth away', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    answer = async () => {
      await held
      return ok('late')
    }
    const asked = Array.from({ length: 16 }, () => askAgent(path, { verb: 'status' }, 10_000))
    while (handled.length < 16) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(await askAgent(path, { verb: 'status' }, 10_000)).toMatchObject({ ok: false, code: 'unreachable' })
    release()
    expect(await Promise.all(asked)).toEqual(Array.from({ length: 16 }, () => ok('late')))
  })

  it('tells the asker when the agent takes too long, fails, or is not there', async () => {
    answer = () => new Promise(() => undefined)
    expect(await askAgent(path, { verb: 'status' }, 50)).toMatchObject({
      code: 'unreachable',
      why: expect.stringMatching(/within 50 ms/),
    })
    answer = () => Promise.reject(new Error('disk on fire'))
    expect(await askAgent(path, { verb: 'status' }, 5_000)).toMatchObject({ code: 'internal', why: 'disk on fire' })
    await open.close()
    expect(await askAgent(path, { verb: 'status' }, 5_000)).toMatchObject({
      code: 'unreachable',
      why: expect.stringMatching(/no agent runs here/),
    })
  })

  it('gives up on an answer without end', async () => {
    answer = async () => ok('x'.repeat(5 * 1_024 * 1_024))
    expect(await askAgent(path, { verb: 'status' }, 10_000)).toMatchObject({
      code: 'unreachable',
      why: expect.stringMatching(/too long/),
    })
  })

  it('keeps a second agent away, and takes over what a dead one left behind', async () => {
    expect(await listenForControl(path, answer)).toMatchObject({ ok: false, code: 'in_use' })
    await open.close()
    writeFileSync(path, '')
    const again = await listenForControl(path, answer)
    expect(again.ok).toBe(true)
    if (again.ok) open = again.value
    expect(existsSync(path)).toBe(true)
    expect(await askAgent(path, { verb: 'status' }, 5_000)).toEqual(ok('here'))
  })
})
