/**
 * API tokens: `fb_pat_` and 32 random bytes in base64url. Only the SHA-256 is kept: the token has 256 bits of chance, so there is
 * nothing to guess and no slow hash to pay at every request.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { Audit } from '../audit/audit.ts'
import { ROLES, type Role } from '../orders/orders.ts'
import type { StateStore } from '../store/state/state-store.ts'

const TOKEN = /^fb_pat_[A-Za-z0-9_-]{43}$/
/** `last used` is written at most this often, ms: a busy program must not cost a write a request. */
const LAST_USED_GRAIN_MS = 60_000
const MAX_LIFE_S = 10 * 365 * 86_400

/** Who stands behind a request. */
export interface Principal {
  readonly tokenId: string
  readonly name: string
  readonly role: Role
}

export interface TokenView {
  readonly id: string
  readonly name: string
  readonly role: Role
  readonly created_by: string
  readonly created_at: string
  readonly expires_at: string | null
  readonly last_used_at: string | null
  readonly revoked_at: string | null
}

export interface NewToken {
  readonly name: string
  readonly role: Role
  /** Life in seconds; without it the token lives until it is revoked. */
  readonly lifeS?: number
}

export const TOKEN_REFUSALS = ['unauthenticated', 'token_expired', 'token_revoked'] as const
export type TokenRefusal = (typeof TOKEN_REFUSALS)[number]

export interface Tokens {
  /** The secret is in the answer and nowhere else, ever. `store` sees it before the token becomes valid. */
  create(
    token: NewToken,
    createdBy: string,
    store?: (secret: string) => Promise<void>,
  ): Promise<{ readonly secret: string; readonly token: TokenView }>
  list(): Promise<readonly TokenView[]>
  revoke(id: string, by: string): Promise<Result<TokenView, 'not_found'>>
  authenticate(secret: string): Promise<Result<Principal, TokenRefusal>>
  /** Whether the token still opens doors; for connections that outlive their request. */
  stillValid(tokenId: string): Promise<boolean>
  /** Whether anybody could still make tokens. */
  hasAdmin(): Promise<boolean>
}

export interface TokensDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly clock: Clock
  readonly random?: (size: number) => Uint8Array
}

export function createTokens({ state, audit, clock, random = randomBytes }: TokensDeps): Tokens {
  const usedAt = new Map<string, number>()
  const nowIso = () => new Date(clock.now()).toISOString()

  return {
    async create({ name, role, lifeS }, createdBy, store) {
      const secret = `fb_pat_${Buffer.from(random(32)).toString('base64url')}`
      const now = clock.now()
      const row = {
        id: uuidv7(now),
        name,
        role,
        created_by: createdBy,
        created_at: new Date(now).toISOString(),
        expires_at: lifeS === undefined ? null : new Date(now + Math.min(lifeS, MAX_LIFE_S) * 1000).toISOString(),
        last_used_at: null,
        revoked_at: null,
      }
      await store?.(secret)
      await state.write(async (tx) => {
        await tx
          .insertInto('api_tokens')
          .values({ ...row, token_sha256: digestOf(secret) })
          .execute()
        await audit.append(tx, {
          actor: createdBy,
          action: 'access.token.created',
          objectType: 'token',
          objectId: row.id,
          detail: { name, role, expires_at: row.expires_at },
        })
      })
      return { secret, token: row }
    },

    async list() {
      const rows = await state.db.selectFrom('api_tokens').select(VIEW).orderBy('id', 'desc').execute()
      return rows.map(viewOf)
    },

    async revoke(id, by) {
      return await state.write(async (tx) => {
        const row = await tx.selectFrom('api_tokens').select(VIEW).where('id', '=', id).executeTakeFirst()
        if (!row) return refuse('not_found', 'there is no such token')
        if (row.revoked_at !== null) return ok(viewOf(row))
        const revokedAt = nowIso()
        await tx.updateTable('api_tokens').set({ revoked_at: revokedAt }).where('id', '=', id).execute()
        await audit.append(tx, {
          actor: by,
          action: 'access.token.revoked',
          objectType: 'token',
          objectId: id,
          detail: { name: row.name, role: row.role },
        })
        return ok(viewOf({ ...row, revoked_at: revokedAt }))
      })
    },

    async authenticate(secret) {
      if (!TOKEN.test(secret)) return refuse('unauthenticated', 'that is not an API token of this product')
      const row = await state.db
        .selectFrom('api_tokens')
        .select(VIEW)
        .where('token_sha256', '=', digestOf(secret))
        .executeTakeFirst()
      if (!row) return refuse('unauthenticated', 'the token is not known here')
      if (row.revoked_at !== null) return refuse('token_revoked', `the token was revoked at ${row.revoked_at}`)
      if (row.expires_at !== null && Date.parse(row.expires_at) <= clock.now())
        return refuse('token_expired', `the token expired at ${row.expires_at}`)
      await noteUse(row.id)
      const { id, name, role } = viewOf(row)
      return ok({ tokenId: id, name, role })
    },

    async stillValid(tokenId) {
      const row = await state.db.selectFrom('api_tokens').select(VIEW).where('id', '=', tokenId).executeTakeFirst()
      return row !== undefined && isLive(row, clock.now())
    },

    async hasAdmin() {
      const rows = await state.db.selectFrom('api_tokens').select(VIEW).where('role', '=', 'admin').execute()
      return rows.some((row) => isLive(row, clock.now()))
    },
  }

  async function noteUse(id: string): Promise<void> {
    const now = clock.now()
    if (now - (usedAt.get(id) ?? Number.NEGATIVE_INFINITY) < LAST_USED_GRAIN_MS) return
    usedAt.set(id, now)
    await state.write(async (tx) => {
      await tx.updateTable('api_tokens').set({ last_used_at: nowIso() }).where('id', '=', id).execute()
    })
  }
}

const VIEW = [
  'id',
  'name',
  'role',
  'created_by',
  'created_at',
  'expires_at',
  'last_used_at',
  'revoked_at',
] as const satisfies readonly (keyof TokenView)[]

type Row = Omit<TokenView, 'role'> & { readonly role: string }

function viewOf(row: Row): TokenView {
  // A role that this version does not know holds nothing more than the least.
  const role = ROLES.find((role) => role === row.role) ?? 'viewer'
  return { ...row, role }
}

function isLive(row: Pick<Row, 'revoked_at' | 'expires_at'>, nowMs: number): boolean {
  return row.revoked_at === null && (row.expires_at === null || Date.parse(row.expires_at) > nowMs)
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}
