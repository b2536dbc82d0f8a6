import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** The archive that apt on this machine takes the given Debian release from, or nothing when it has none
 * (then debootstrap's own default is used). Reads both formats of sources.list(5). */
export function aptMirrorOf(release: string, aptDirectory = '/etc/apt'): string | undefined {
  return mirrorIn(sourceFiles(aptDirectory), release)
}

export function mirrorIn(
  files: readonly { readonly name: string; readonly text: string }[],
  release: string,
): string | undefined {
  const entries = files.flatMap(({ name, text }) => (name.endsWith('.sources') ? stanzas(text) : oneLines(text)))
  return entries.find(({ suites, components }) => suites.includes(release) && components.includes('main'))?.uri
}

interface Entry {
  readonly uri: string
  readonly suites: readonly string[]
  readonly components: readonly string[]
}

function sourceFiles(directory: string): { name: string; text: string }[] {
  const parts = join(directory, 'sources.list.d')
  const paths = [join(directory, 'sources.list'), ...list(parts).map((name) => join(parts, name))]
  return paths.flatMap((name) => {
    if (!/\.(list|sources)$/.test(name)) return []
    try {
      return [{ name, text: readFileSync(name, 'utf8') }]
    } catch {
      return [] // a machine has either of the two, seldom both
    }
  })
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

/** `deb [options] uri suite component...` */
function oneLines(text: string): Entry[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line)
    if (match === null) return []
    const [, uri = '', suite = '', components = ''] = match
    return [{ uri, suites: [suite], components: components.split(/\s+/) }]
  })
}

/** Deb822: `Field: value` lines, continued by leading blanks, stanzas apart by an empty line. */
function stanzas(text: string): Entry[] {
  const withoutComments = text.replace(/^#.*\n?/gm, '')
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map<string, string[]>()
    for (const line of stanza.replaceAll(/\n[ \t]+/g, ' ').split('\n')) {
      const colon = line.indexOf(':')
      if (colon > 0)
        fields.set(
          line.slice(0, colon).toLowerCase(),
          line
            .slice(colon + 1)
            .trim()
            .split(/\s+/),
        )
    }
    if (!fields.get('types')?.includes('deb') || fields.get('enabled')?.[0] === 'no') return []
    const rest = { suites: fields.get('suites') ?? [], components: fields.get('components') ?? [] }
    return (fields.get('uris') ?? []).map((uri) => ({ uri, ...rest }))
  })
}
