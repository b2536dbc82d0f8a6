/** What the package sources share: one shape of an installed package, and reading a data base of paragraphs. */
import { MiB } from '@firebreak/shared/wire/units.ts'
import { openRegular } from './bounded-file.ts'
import type { Item } from './source.ts'

export interface PackageFacts {
  readonly type: 'deb' | 'rpm' | 'apk' | 'npm' | 'pypi'
  readonly name: string
  readonly version: string
  readonly architecture?: string
  /** Where it lies, for what can be installed in several places. */
  readonly path?: string
}

export function packageItem(found: PackageFacts): Item {
  const { type, name, version, architecture = '', path = '' } = found
  return { key: [type, name, architecture, path].join('|'), label: `${name} ${version}`, facts: { ...found } }
}

/** One paragraph past this is no paragraph of a package: the file is not what it seems. */
const MAX_PARAGRAPH = 8 * MiB

/**
 * Paragraph by paragraph, so that megabytes of descriptions are not held at once, and the loop is given back in between. Returns why not
 * all of it was read. A file that is replaced meanwhile is read to its end: package managers write a new one beside it.
 */
export async function readParagraphs(
  path: string,
  maxBytes: number,
  take: (paragraph: string) => void,
): Promise<string | undefined> {
  await using file = await openRegular(path)
  if (file === undefined) return `${path} is no regular file`
  const { size } = await file.stat()
  if (size > maxBytes) return `${path} is larger than ${maxBytes} bytes`
  const chunk = Buffer.allocUnsafe(Math.min(MiB, size + 1))
  let rest = ''
  for (let at = 0; at < maxBytes; ) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at)
    if (bytesRead === 0) break
    at += bytesRead
    const parts = (rest + chunk.toString('latin1', 0, bytesRead)).split('\n\n')
    rest = parts.pop() ?? ''
    if (rest.length > MAX_PARAGRAPH) return `${path} holds a paragraph of more than ${MAX_PARAGRAPH} bytes`
    for (const paragraph of parts) take(paragraph)
  }
  take(rest)
  return undefined
}

export function fieldOf(paragraph: string, name: string): string | undefined {
  const start = paragraph.startsWith(`${name}:`) ? 0 : paragraph.indexOf(`\n${name}:`) + 1
  if (start === 0 && !paragraph.startsWith(`${name}:`)) return undefined
  const end = paragraph.indexOf('\n', start)
  return paragraph.slice(start + name.length + 1, end < 0 ? undefined : end).trim()
}
