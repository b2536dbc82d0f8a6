/** The way in at the first start: an admin token in a file that only the controller's account can read. */
import { open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Tokens } from './tokens.ts'

export const ADMIN_TOKEN_FILE = 'admin.token'

export type FirstToken = { readonly made: boolean; readonly path: string }

/**
 * Makes an admin token when none is valid, which is the case at the first start and after all of them expired or were revoked.
 * The file is on disk before the token counts, so a crash in between leaves a token that opens nothing, and the next start
 * makes another.
 */
export async function ensureAdminToken(tokens: Tokens, stateDir: string): Promise<FirstToken> {
  const path = join(stateDir, ADMIN_TOKEN_FILE)
  if (await tokens.hasAdmin()) return { made: false, path }
  await tokens.create({ name: 'admin', role: 'admin' }, 'system', async (secret) => await writeSecret(path, secret))
  return { made: true, path }
}

async function writeSecret(path: string, secret: string): Promise<void> {
  const half = `${path}.${process.pid}.new`
  const file = await open(half, 'wx', 0o600)
  try {
    await file.writeFile(`${secret}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(half, path)
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
