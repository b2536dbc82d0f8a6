/**
 * Server-sent events: what changed, as it changes. A message says that something changed, never what it is now; a listener that was
 * away reads the lists again. A listener that does not read costs a bounded queue and nobody else anything.
 * Source: WHATWG HTML, 9.2 Server-sent events.
 */
import type { ServerResponse } from 'node:http'
import { Type } from 'typebox'
import type { BusMessages, Topic } from '../store/bus/bus.ts'
import type { Api } from './api.ts'
import type { ApiConfig } from './api-config.ts'
import type { ApiDeps } from './api-deps.ts'
import { principalOf } from './authenticate.ts'
import { ProblemError } from './problem.ts'
import { closed } from './schemas.ts'

export const TOPICS = [
  'host.changed',
  'host.connected',
  'host.disconnected',
  'batch.committed',
  'alert.changed',
  'incident.changed',
  'command.changed',
  'run.changed',
] as const satisfies readonly Topic[]
/** Batches come many times a second, so they are only sent to those who ask. */
const USUAL_TOPICS = TOPICS.filter((topic) => topic !== 'batch.committed')
export const HEARTBEAT_MS = 15_000

type StreamConfig = Pick<ApiConfig, 'stream_clients' | 'stream_queue'>

export function streamRoutes(
  api: Api,
  { bus, clock, tokens, log }: Pick<ApiDeps, 'bus' | 'clock' | 'tokens' | 'log'>,
  config: StreamConfig,
): void {
  const listeners = new Set<AbortController>()
  api.addHook('preClose', async () => {
    for (const listener of listeners) listener.abort()
  })

  api.get(
    '/api/v1/stream',
    {
      schema: {
        tags: ['system'],
        summary: 'Listen to what changes',
        description: `Server-sent events named ${TOPICS.join(', ')}; a comment every ${HEARTBEAT_MS / 1000} s. \`dropped\` tells how many messages a slow listener lost: read the lists again.`,
        querystring: closed(
          {
            topics: Type.Optional(
              Type.String({
                maxLength: 512,
                description: 'Separated by commas; all but batch.committed when left out.',
              }),
            ),
          },
          'Query.',
        ),
        produces: ['text/event-stream'],
      },
    },
    async (request, reply) => {
      const topics = topicsOf(request.query.topics)
      if (listeners.size >= config.stream_clients)
        throw new ProblemError('too_many_listeners', `there are ${listeners.size} already`)
      const { tokenId } = principalOf(request)
      const end = new AbortController()
      listeners.add(end)
      reply.hijack()
      reply.raw.writeHead(200, {
        ...(reply.getHeaders() as Record<string, string>),
        'content-type': 'text/event-stream; charset=utf-8',
        'x-accel-buffering': 'no',
      })
      const queue = new SlowReaderQueue(reply.raw, config.stream_queue)
      queue.push(': connected\n\n')
      const unsubscribe = topics.map((topic) =>
        bus.subscribe(topic, (message: BusMessages[Topic]) => {
          queue.push(`event: ${topic}\ndata: ${JSON.stringify(message)}\n\n`)
        }),
      )
      reply.raw.once('close', () => end.abort())
      try {
        while (!end.signal.aborted) {
          await clock.sleep(HEARTBEAT_MS, end.signal)
          // A token that was revoked must not go on listening through the door it came in by.
          if (!(await tokens.stillValid(tokenId))) break
          queue.push(': heartbeat\n\n')
        }
      } catch (thrown) {
        if (!end.signal.aborted) throw thrown
      } finally {
        for (const stop of unsubscribe) stop()
        listeners.delete(end)
        if (queue.dropped > 0) log.warn({ request_id: request.id, dropped: queue.dropped }, 'api.stream.dropped')
        reply.raw.end()
      }
    },
  )
}

/** Keeps what the socket does not take, up to a limit; then loses the oldest, counts it and says so. */
export class SlowReaderQueue {
  readonly #socket: Pick<ServerResponse, 'write' | 'once'>
  readonly #limit: number
  #waiting: string[] = []
  #blocked = false
  #untold = 0
  dropped = 0

  constructor(socket: Pick<ServerResponse, 'write' | 'once'>, limit: number) {
    this.#socket = socket
    this.#limit = limit
  }

  push(message: string): void {
    if (!this.#blocked) return this.#write(message)
    if (this.#waiting.length >= this.#limit) {
      this.#waiting.shift()
      this.#untold++
      this.dropped++
    }
    this.#waiting.push(message)
  }

  #write(message: string): void {
    if (this.#socket.write(message)) return
    this.#blocked = true
    this.#socket.once('drain', () => this.#flush())
  }

  #flush(): void {
    this.#blocked = false
    const waiting = this.#waiting
    this.#waiting = []
    if (this.#untold > 0) waiting.unshift(`event: dropped\ndata: ${JSON.stringify({ count: this.#untold })}\n\n`)
    this.#untold = 0
    for (const [at, message] of waiting.entries()) {
      if (this.#blocked) {
        this.#waiting = waiting.slice(at)
        return
      }
      this.#write(message)
    }
  }
}

function topicsOf(text: string | undefined): readonly Topic[] {
  if (text === undefined) return USUAL_TOPICS
  const topics = [...new Set(text.split(','))]
  return topics.map((name) => {
    const topic = TOPICS.find((topic) => topic === name)
    if (topic === undefined) {
      const why = `must be some of ${TOPICS.join(',')}`
      throw new ProblemError('bad_request', `query.topics: ${why}`, [{ field: 'query.topics', why }])
    }
    return topic
  })
}
