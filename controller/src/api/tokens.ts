/** Who may ask. Only an admin makes tokens, and a token's secret is shown once. */
import { Type } from 'typebox'
import { ROLES } from '../orders/orders.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { valueOf } from './problem.ts'
import { closed, IdParams, orNull, Time, Uuid } from './schemas.ts'

const Token = closed(
  {
    id: Uuid('Token id.'),
    name: Type.String({ description: 'Whose it is; stands in the audit log as user:<name>.' }),
    role: Type.Enum([...ROLES]),
    created_by: Type.String(),
    created_at: Time('When it was made'),
    expires_at: orNull(Time('When it ends')),
    last_used_at: orNull(Time('When it was last used, to the minute')),
    revoked_at: orNull(Time('When it was revoked')),
  },
  'An API token, without its secret.',
)
const NewToken = closed(
  {
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$', description: 'A person or a program.' }),
    role: Type.Enum([...ROLES]),
    life_s: Type.Optional(
      Type.Integer({ minimum: 60, maximum: 315_360_000, description: 'Life in seconds; for ever when left out.' }),
    ),
  },
  'The token to make.',
)

export function tokenRoutes(api: Api, { tokens }: Pick<ApiDeps, 'tokens'>): void {
  api.get(
    '/api/v1/tokens',
    {
      schema: {
        tags: ['tokens'],
        summary: 'List API tokens',
        response: { 200: closed({ items: Type.Array(Token) }, 'All of them, newest first.') },
      },
    },
    async () => ({ items: [...(await tokens.list())] }),
  )

  api.post(
    '/api/v1/tokens',
    {
      schema: {
        tags: ['tokens'],
        summary: 'Make an API token',
        description: 'The secret is in this answer and nowhere else.',
        body: NewToken,
        response: { 201: closed({ token: Token, secret: Type.String({ description: 'fb_pat_...' }) }, 'The token.') },
      },
    },
    async (request, reply) => {
      const { name, role, life_s: lifeS } = request.body
      const made = await tokens.create({ name, role, ...(lifeS === undefined ? {} : { lifeS }) }, actorText(request))
      return await reply.code(201).send(made)
    },
  )

  api.delete(
    '/api/v1/tokens/:id',
    { schema: { tags: ['tokens'], summary: 'Revoke an API token', params: IdParams, response: { 200: Token } } },
    async (request) => valueOf(await tokens.revoke(request.params.id, actorText(request))),
  )
}
