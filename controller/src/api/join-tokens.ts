/** What lets a host in. The join string is shown once, when it is made. */
import { Type } from 'typebox'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { notFound, valueOf } from './problem.ts'
import { closed, Count, orNull, Time } from './schemas.ts'

const JoinToken = closed(
  {
    token_id: Type.String(),
    group: Type.String({ description: 'Group of the hosts that join with it.' }),
    created_by: Type.String(),
    created_at: Time('When it was made'),
    expires_at: Time('When it ends'),
    max_uses: Count('How many hosts may join with it.'),
    uses: Count('How many did.'),
    revoked_at: orNull(Time('When it was revoked')),
  },
  'A join token, without its secret.',
)
const NewJoinToken = closed(
  {
    group: Type.Optional(
      Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$', description: '`default` when left out.' }),
    ),
    life_s: Type.Optional(
      Type.Integer({ minimum: 60, maximum: 2_592_000, description: 'Life in seconds; 3,600 when left out.' }),
    ),
    max_uses: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100_000, description: 'Hosts that may join with it; 1 when left out.' }),
    ),
  },
  'What the token allows.',
)
export type JoinTokenShown = Type.Static<typeof JoinToken>
const MadeJoinToken = closed(
  {
    token_id: Type.String(),
    join_string: Type.String({
      description: 'Enrols a host: firebreak-agent enroll --controller https://<host:port> --join <join string>.',
    }),
    controllers: Type.Array(Type.String(), {
      description: 'host:port of the controllers that agents reach.',
    }),
  },
  'The token.',
)
export type NewJoinTokenShown = Type.Static<typeof MadeJoinToken>
const TokenParams = closed({ token_id: Type.String({ pattern: '^[0-9a-f]{32}$' }) }, 'Path.')
const VIEW = ['token_id', 'created_by', 'created_at', 'expires_at', 'max_uses', 'uses', 'revoked_at'] as const

export function joinTokenRoutes(
  api: Api,
  { state, joinTokens, controllers }: Pick<ApiDeps, 'state' | 'joinTokens' | 'controllers'>,
): void {
  api.get(
    '/api/v1/join-tokens',
    {
      schema: {
        tags: ['join tokens'],
        summary: 'List join tokens',
        querystring: closed(pageQuery, 'Query.'),
        response: { 200: pageOf(JoinToken) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('join-tokens', query.cursor)
      let rows = state.db
        .selectFrom('join_tokens')
        .select(VIEW)
        .select('group_name as group')
        .orderBy('token_id')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('token_id', '>', after)
      return pageFrom(
        'join-tokens',
        await rows.execute(),
        limit,
        (row) => row.token_id,
        (row) => row,
      )
    },
  )

  api.post(
    '/api/v1/join-tokens',
    {
      schema: {
        tags: ['join tokens'],
        summary: 'Make a join token',
        description: 'The join string is in this answer and nowhere else.',
        body: NewJoinToken,
        response: {
          201: MadeJoinToken,
        },
      },
    },
    async (request, reply) => {
      const { group = 'default', life_s: lifeS = 3_600, max_uses: maxUses = 1 } = request.body
      const made = await joinTokens.create({ group, lifeS, maxUses }, actorText(request))
      return await reply
        .code(201)
        .send({ token_id: made.tokenId, join_string: made.joinString, controllers: [...controllers()] })
    },
  )

  api.delete(
    '/api/v1/join-tokens/:token_id',
    {
      schema: {
        tags: ['join tokens'],
        summary: 'Revoke a join token',
        description: 'Hosts that joined with it stay.',
        params: TokenParams,
        response: { 200: JoinToken },
      },
    },
    async (request) => {
      const { token_id: tokenId } = request.params
      valueOf(await joinTokens.revoke(tokenId, actorText(request)))
      const row = await state.db
        .selectFrom('join_tokens')
        .select(VIEW)
        .select('group_name as group')
        .where('token_id', '=', tokenId)
        .executeTakeFirst()
      if (!row) throw notFound('no such join token')
      return row
    },
  )
}
