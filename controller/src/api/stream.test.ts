import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import type { IncidentId } from '@firebreak/shared/ids.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ApiUnderTest, startApi } from './api.fixture.ts'
import { HEARTBEAT_MS, SlowReaderQueue } from './stream.ts'

let door: ApiUnderTest
let url: string
beforeEach(async () => {
  door = await startApi({ config: { stream_clients: 2 } })
  url = await door.api.listen({ host: '127.0.0.1', port: 0 })
})
afterEach(async () => {
  await door.stop()
})

const incidentId = '01a20d6d-5b90-7c9b-8378-2e328fd2af15' as IncidentId

async function listen(query = '', secret = door.secretOf('viewer')) {
  const request = get(`${url}/api/v1/stream${query}`, { headers: { authorization: `Bearer ${secret}` } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  response.on('error', () => {})
  const until = async (what: string) => {
    for (let i = 0; i < 200 && !text.includes(what); i++) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(text).toContain(what)
  }
  return { response, until, text: () => text, close: () => request.destroy() }
}

describe('the stream', () => {
  it('tells what changes as it changes, and beats while nothing does', async () => {
    const listener = await listen()
    expect(listener.response.headers['content-type']).toContain('text/event-stream')
    expect(listener.response.headers['x-request-id']).toBeTruthy()
    await listener.until(': connected')
    door.bus.publish('incident.changed', { incidentId })
    await listener.until(`event: incident.changed\ndata: {"incidentId":"${incidentId}"}\n\n`)
    await door.clock.advance(HEARTBEAT_MS)
    await listener.until(': heartbeat')
    listener.close()
  })

  it('sends only the topics that were asked for, and refuses one that there is not', async () => {
    const listener = await listen('?topics=alert.changed')
    await listener.until(': connected')
    door.bus.publish('incident.changed', { incidentId })
    door.bus.publish('alert.changed', { alertId: incidentId as never })
    await listener.until('event: alert.changed')
    expect(listener.text()).not.toContain('incident.changed')
    listener.close()
    const wrong = await door.ask('viewer', { url: '/api/v1/stream?topics=secrets' })
    expect(wrong.json()).toMatchObject({ code: 'bad_request', errors: [{ field: 'query.topics' }] })
  })

  it('ends for a token that was revoked, within one heartbeat', async () => {
    const { secret, token } = await door.tokens.create({ name: 'ann', role: 'viewer' }, 'system')
    const listener = await listen('', secret)
    await listener.until(': connected')
    const ended = once(listener.response, 'end')
    await door.tokens.revoke(token.id, 'user:admin')
    await door.clock.advance(HEARTBEAT_MS)
    await ended
  })

  it('asks for a token as every door does, and takes no more listeners than it may', async () => {
    expect((await door.ask(null, { url: '/api/v1/stream' })).statusCode).toBe(401)
    const listeners = [await listen(), await listen()]
    for (const listener of listeners) await listener.until(': connected')
    expect((await door.ask('viewer', { url: '/api/v1/stream' })).json()).toMatchObject({ code: 'too_many_listeners' })
    for (const listener of listeners) listener.close()
  })

  it('lets the server close while somebody listens', async () => {
    const listener = await listen()
    await listener.until(': connected')
    const ended = once(listener.response, 'close')
    await door.api.close()
    await ended
  })
})

describe('a listener that does not read', () => {
  it('costs a bounded queue, loses the oldest messages, and is told how many when it reads again', () => {
    const written: string[] = []
    let open = true
    let drain = () => {}
    const socket = {
      write: (text: string) => (written.push(text), open),
      once: (_event: string, handler: () => void) => (drain = handler),
    }
    const queue = new SlowReaderQueue(socket as never, 10)
    queue.push('first')
    open = false
    queue.push('blocks')
    for (let i = 0; i < 25; i++) queue.push(`m${i}`)
    expect(written).toEqual(['first', 'blocks'])
    expect(queue.dropped).toBe(15)
    open = true
    drain()
    expect(written.slice(2)).toEqual([
      'event: dropped\ndata: {"count":15}\n\n',
      ...Array.from({ length: 10 }, (_, i) => `m${i + 15}`),
    ])
  })
})
