import { globSync } from 'node:fs'
import { join, sep } from 'node:path'

/** Paths of one pattern at most: a `*` over a folder of a million names must not become a million watches. */
const MAX_MATCHES = 1_000

/**
 * Paths to watch for a configured one: `*` stands for one path part or a piece of it and is looked up now; what follows the last `*` need not
 * exist yet. `root` goes before every path.
 */
export function expandPath(pattern: string, root = '/'): string[] {
  const parts = pattern.split(sep)
  const last = parts.findLastIndex((part) => part.includes('*'))
  if (last < 0) return [join(root, pattern)]
  const found = globSync(join(root, escapeOthers(parts.slice(0, last + 1).join(sep))))
  return found.slice(0, MAX_MATCHES).map((path) => join(path, ...parts.slice(last + 1)))
}

/** Whether a path is one of the patterns or lies below one. */
export function createPathFilter(patterns: readonly string[], root = '/'): (path: string) => boolean {
  const tests = patterns.map((pattern) => {
    const parts = join(root, pattern)
      .split('*')
      .map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`))
    // One or more `[^/]*` between fixed pieces, no nesting: linear for paths of at most 4,096 characters in practice.
    return new RegExp(`^${parts.join('[^/]*')}(?:/|$)`)
  })
  return (path) => tests.some((test) => test.test(path))
}

/** Only `*` is special in a configured path. */
function escapeOthers(pattern: string): string {
  return pattern.replaceAll(/[?[\]{}!()\\]/g, String.raw`\$&`)
}
