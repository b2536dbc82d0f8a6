import { readFile } from 'node:fs/promises'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Placeholders } from '@firebreak/shared/sigma/placeholders.ts'
import { parse as parseYaml } from 'yaml'

/** A map of names to one or more values, or the reason why there is none. */
export async function readPlaceholders(path: string | undefined): Promise<Placeholders | string> {
  if (path === undefined) return new Map()
  try {
    const read: unknown = parseYaml(await readFile(path, 'utf8'))
    if (typeof read !== 'object' || read === null || Array.isArray(read)) return `${path}: not a map of placeholders`
    return new Map(
      Object.entries(read).map(([name, value]) => [
        name.replace(/^%(.*)%$/, '$1'),
        (Array.isArray(value) ? (value as unknown[]) : [value]).map(String),
      ]),
    )
  } catch (thrown) {
    return `${path}: ${reasonOf(thrown)}`
  }
}
