/** Tokens that let hosts join: random, short-lived, counted. Only a sealed key made of them is kept; the token itself is shown once. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { formatJoinString, newJoinToken, tokenIdOf, tokenKeyOf } from '@firebreak/shared/trust/join-string.ts'
import type { Audit } from '../audit/index.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { ControllerTrust } from '../trust/index.ts'

export const DEFAULT_TOKEN_LIFE_S = 3_600
export const MAX_TOKEN_LIFE_S = 30 * 86_400
export const MAX_TOKEN_USES = 100_000

export interface NewJoinToken {
  readonly group: string
  readonly lifeS: number
  readonly maxUses: number
}

export interface JoinTokenView {
  readonly tokenId: string
  readonly group: string
  readonly createdBy: string
  readonly createdAt: string
  readonly expiresAt: string
  readonly maxUses: number
  readonly uses: number
  readonly state: 'usable' | 'expired' | 'used_up' | 'revoked'
}

export interface JoinTokens {
  /** The join string holds the token and is in no table: it can be read here once. */
  create(token: NewJoinToken, by: string): Promise<{ readonly tokenId: string; readonly joinString: string }>
  list(): Promise<readonly JoinTokenView[]>
  revoke(tokenId: string, by: string): Promise<Result<void, 'not_found'>>
}

export function tokenContext(tokenId: string): string {
  return `join_token:${tokenId}`
}

export function createJoinTokens(
  state: StateStore,
  audit: Audit,
  trust: ControllerTrust,
  clock: Pick<Clock, 'now'>,
): JoinTokens {
  return {
    async create({ group, lifeS, maxUses }, by) {
      const token = newJoinToken()
      const tokenId = tokenIdOf(token)
      const now = clock.now()
      const expiresAt = new Date(now + Math.min(lifeS, MAX_TOKEN_LIFE_S) * 1_000).toISOString()
      await state.write(async (tx) => {
        await tx
          .insertInto('join_tokens')
          .values({
            token_id: tokenId,
            key_wrapped: trust.wrap.seal(tokenKeyOf(token), tokenContext(tokenId)),
            group_name: group,
            created_by: by,
            created_at: new Date(now).toISOString(),
            expires_at: expiresAt,
            max_uses: Math.min(maxUses, MAX_TOKEN_USES),
            uses: 0,
            revoked_at: null,
          })
          .execute()
        await audit.append(tx, {
          actor: by,
          action: 'fleet.join_token.created',
          objectType: 'join_token',
          objectId: tokenId,
          detail: { group, expires_at: expiresAt, max_uses: maxUses },
        })
      })
      return { tokenId, joinString: formatJoinString({ token, rootHash: trust.trust().rootHash }) }
    },

    async list() {
      const rows = await state.db
        .selectFrom('join_tokens')
        .selectAll()
        .orderBy('created_at', 'desc')
        .limit(1_000)
        .execute()
      const now = new Date(clock.now()).toISOString()
      return rows.map((row) => ({
        tokenId: row.token_id,
        group: row.group_name,
        createdBy: row.created_by,
        createdAt: row.created_at,
        expiresAt: row.expires_at,
        maxUses: row.max_uses,
        uses: row.uses,
        state:
          row.revoked_at !== null
            ? 'revoked'
            : row.uses >= row.max_uses
              ? 'used_up'
              : row.expires_at <= now
                ? 'expired'
                : 'usable',
      }))
    },

    revoke(tokenId, by) {
      return state.write(async (tx): Promise<Result<void, 'not_found'>> => {
        const revokedAt = new Date(clock.now()).toISOString()
        const { numUpdatedRows } = await tx
          .updateTable('join_tokens')
          .set({ revoked_at: revokedAt })
          .where('token_id', '=', tokenId)
          .where('revoked_at', 'is', null)
          .executeTakeFirst()
        if (numUpdatedRows === 0n) {
          const known = await tx
            .selectFrom('join_tokens')
            .select('token_id')
            .where('token_id', '=', tokenId)
            .executeTakeFirst()
          return known ? ok() : refuse('not_found', `there is no join token ${tokenId}`)
        }
        await audit.append(tx, {
          actor: by,
          action: 'fleet.join_token.revoked',
          objectType: 'join_token',
          objectId: tokenId,
          detail: {},
        })
        return ok()
      })
    },
  }
}
