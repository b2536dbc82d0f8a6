import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { KiB } from '@firebreak/shared/wire/units.ts'

export interface OsRelease {
  readonly name: string | undefined
  readonly version: string | undefined
}

const MAX_BYTES = 64 * KiB

/** Name and version of the distribution. Source: os-release(5). */
export function readOsRelease(root = '/'): OsRelease {
  for (const path of [join(root, 'etc/os-release'), join(root, 'usr/lib/os-release')]) {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat?.isFile() && stat.size <= MAX_BYTES) return parseOsRelease(readFileSync(path, 'utf8'))
  }
  return { name: undefined, version: undefined }
}

export function parseOsRelease(text: string): OsRelease {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, name, raw] = /^([A-Z_0-9]{1,64})=(.{0,1024})$/.exec(line) ?? []
    if (name !== undefined && raw !== undefined) values.set(name, unquote(raw))
  }
  const version = values.get('VERSION_ID')
  return { name: values.get('NAME'), version: version ?? values.get('BUILD_ID') }
}

function unquote(raw: string): string {
  const quoted = /^(["'])(.*)\1$/.exec(raw.trim())
  return (quoted?.[2] ?? raw.trim()).replaceAll(/\\(["'$`\\])/g, '$1')
}
