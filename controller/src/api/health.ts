/** Is it alive, and can it work. */
import { Type } from 'typebox'
import type { Api } from './api.ts'
import { READY_PARTS, type ApiDeps } from './api-deps.ts'
import { closed } from './schemas.ts'

const Part = closed(
  { ready: Type.Boolean(), why: Type.Optional(Type.String({ description: 'Why it is not.' })) },
  'One thing that has to work.',
)
const Ready = closed(
  {
    ready: Type.Boolean(),
    parts: closed(
      { store: Part, telemetry: Part, keys: Part, rules: Part, playbooks: Part },
      'store: the state can be written. telemetry: events can be searched. keys: commands can be signed. rules: at least one is live. playbooks: at least one is in force.',
    ),
  },
  'Readiness.',
)

export function healthRoutes(api: Api, { readiness }: Pick<ApiDeps, 'readiness'>): void {
  api.get(
    '/healthz',
    {
      config: { rateLimit: false },
      schema: {
        tags: ['system'],
        summary: 'The process is alive',
        response: { 200: closed({ status: Type.Literal('ok') }, 'Alive.') },
      },
    },
    async () => ({ status: 'ok' as const }),
  )
  api.get(
    '/readyz',
    {
      config: { rateLimit: false },
      schema: {
        tags: ['system'],
        summary: 'Everything it needs works',
        response: { 200: Ready, 503: Ready },
      },
    },
    async (_request, reply) => {
      const parts = await readiness.check()
      const ready = READY_PARTS.every((name) => parts[name].ready)
      return await reply.code(ready ? 200 : 503).send({ ready, parts })
    },
  )
}
