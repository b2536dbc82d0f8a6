/** Builds the load programs of tests and benches once, into the sensor's dist folder. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const DIST = join(here, '..', 'dist')

/** The path of `storm`; `nothing` lies beside it. Needs the compiler that the sensor itself needed. */
export function buildStorm(): string {
  const hash = createHash('sha256')
  for (const name of ['storm.c', 'nothing.c', 'build-storm.ts']) hash.update(readFileSync(join(here, name)))
  const folder = join(DIST, `storm-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(folder)) return join(folder, 'storm')
  mkdirSync(DIST, { recursive: true })
  const work = mkdtempSync(join(DIST, 'work-'))
  try {
    const gcc = (...args: readonly string[]) =>
      execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-static', '-s', ...args])
    gcc('-nostdlib', '-fno-stack-protector', join(here, 'nothing.c'), '-o', join(work, 'nothing'))
    gcc('-std=gnu11', `-DNOTHING="${join(folder, 'nothing')}"`, join(here, 'storm.c'), '-o', join(work, 'storm'))
    renameSync(work, folder)
  } catch (error) {
    rmSync(work, { recursive: true, force: true })
    // Somebody else was faster with the same sources.
    if (!existsSync(folder)) throw error
  }
  return join(folder, 'storm')
}
