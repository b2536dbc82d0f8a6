/** The grammar of one line of sudoers(5): user specifications, aliases, includes. `Defaults` say nothing of who may what. */

export interface SudoRule {
  readonly who: string
  readonly hosts: string
  /** `root` where none is named; `user:group` with both. */
  readonly runAs: string
  readonly tags: readonly string[]
  readonly command: string
}

export type AliasKind = 'User' | 'Runas' | 'Host' | 'Cmnd'
/** `Kind:NAME` to its members. */
export type Aliases = Map<string, readonly string[]>

export type SudoersLine =
  | { readonly what: 'rules'; readonly rules: readonly SudoRule[] }
  | {
      readonly what: 'aliases'
      readonly of: AliasKind
      readonly aliases: readonly (readonly [string, readonly string[]])[]
    }
  | { readonly what: 'include' | 'includedir'; readonly path: string }

const MAX_MEMBERS = 512

/** Undefined for what says nothing here: blank lines, comments, Defaults. */
export function parseSudoersLine(line: string): SudoersLine | 'malformed' | undefined {
  const include = /^[@#](include|includedir)\s+(?:"([^"]{1,4096})"|(\S(?:\\ |\S){0,4095}))\s*$/.exec(line.trim())
  if (include) {
    const path = (include[2] ?? include[3] ?? '').replaceAll('\\ ', ' ')
    return { what: include[1] === 'include' ? 'include' : 'includedir', path }
  }
  const text = withoutComment(line).trim()
  if (text === '' || /^Defaults(?:[\s@:!>]|$)/.test(text)) return undefined
  const alias = /^(User|Runas|Host|Cmnd|Cmd)_Alias\s+(.+)$/s.exec(text)
  return alias ? parseAliases(alias[1] === 'Cmd' ? 'Cmnd' : (alias[1] as AliasKind), alias[2] ?? '') : parseRules(text)
}

/** What a name stands for, aliases within aliases as well; the name itself when it stands for nothing else. */
export function expandAlias(kind: AliasKind, text: string, aliases: Aliases): string[] {
  const expanded: string[] = []
  const open = splitOutside(text, ',').map((member) => ({ member: member.trim(), depth: 0 }))
  while (open.length > 0 && expanded.length < MAX_MEMBERS) {
    const next = open.shift()
    if (!next) break
    const isNegated = /^(?:!\s*)+/.exec(next.member)?.[0] ?? ''
    const isNot = (isNegated.match(/!/g)?.length ?? 0) % 2 === 1
    const members = aliases.get(`${kind}:${next.member.slice(isNegated.length)}`)
    if (!members || next.depth > 16) expanded.push(next.member)
    else
      open.unshift(
        ...members
          .slice(0, MAX_MEMBERS)
          .map((member) => ({ member: isNot ? `!${member}` : member, depth: next.depth + 1 })),
      )
  }
  return expanded
}

/** `NAME = a, b : OTHER = c` */
function parseAliases(of: AliasKind, text: string): SudoersLine | 'malformed' {
  const aliases: (readonly [string, readonly string[]])[] = []
  for (const part of splitOutside(text, ':')) {
    const [, name, members] = /^\s*([A-Z][A-Z0-9_]*)\s*\+?=\s*(.+)$/s.exec(part) ?? []
    if (name === undefined || members === undefined) return 'malformed'
    aliases.push([name, splitOutside(members, ',').map((member) => member.trim())])
  }
  return { what: 'aliases', of, aliases }
}

/** `who hosts = (runas) TAG: command, TAG: command : hosts = ...` */
function parseRules(line: string): SudoersLine | 'malformed' {
  // A space after a comma parts nothing; the last one before the `=` parts who from where.
  const text = line.replaceAll(/\s+/g, ' ')
  const first = splitOutside(text, '=')[0] ?? ''
  const named = first.replaceAll(/ ?, ?/g, ',').trim()
  const at = named.lastIndexOf(' ')
  if (at < 1 || first.length === text.length) return 'malformed'
  const who = unquoted(named.slice(0, at))
  const rules: SudoRule[] = []
  let hosts = named.slice(at + 1)
  for (const [n, part] of hostParts(text.slice(first.length)).entries()) {
    if (n > 0) hosts = part.hosts
    let runAs = 'root'
    let tags: readonly string[] = []
    for (const one of splitOutside(part.commands, ',')) {
      const parsed = parseCommand(one.trim())
      if (parsed.command === '') return 'malformed'
      // Run-as and tags hold for the commands after them until another one is given.
      if (parsed.runAs !== undefined) runAs = parsed.runAs
      if (parsed.tags.length > 0) tags = mergeTags(tags, parsed.tags)
      rules.push({ who: spaced(who), hosts: spaced(hosts), runAs, tags, command: parsed.command })
    }
  }
  return rules.length > 0 ? { what: 'rules', rules } : 'malformed'
}

function spaced(list: string): string {
  return list.replaceAll(/ ?, ?/g, ', ')
}

function hostParts(rest: string): { readonly hosts: string; readonly commands: string }[] {
  const parts: { hosts: string; commands: string }[] = []
  // A colon also ends a tag; a part begins where a `=` follows before the next colon.
  for (const piece of splitOutside(rest.slice(1), ':')) {
    const at = splitOutside(piece, '=')
    const [hosts = ''] = at
    const isDigest = /(?:^|[ ,])sha(?:224|256|384|512)$/.test(parts.at(-1)?.commands.trimEnd() ?? '')
    const begins =
      !isDigest && at.length > 1 && /^\s*[\w.!*/%@-]+(?:\s*,\s*[\w.!*/%@-]+)*\s*$/.test(hosts) && !/[/]/.test(hosts)
    const last = parts.at(-1)
    if (last && begins && !isOption(hosts)) parts.push({ hosts: hosts.trim(), commands: piece.slice(hosts.length + 1) })
    else if (last) last.commands += `:${piece}`
    else parts.push({ hosts: '', commands: piece })
  }
  return parts
}

/** Options before a command look like an assignment: `CWD=/tmp`, `TIMEOUT=5m`. */
function isOption(name: string): boolean {
  return /^\s*(?:CWD|CHROOT|ROLE|TYPE|APPARMOR_PROFILE|PRIVS|LIMITPRIVS|NOTBEFORE|NOTAFTER|TIMEOUT)\s*$/.test(name)
}

const TAGS =
  /^(EXEC|NOEXEC|FOLLOW|NOFOLLOW|LOG_INPUT|NOLOG_INPUT|LOG_OUTPUT|NOLOG_OUTPUT|MAIL|NOMAIL|INTERCEPT|NOINTERCEPT|PASSWD|NOPASSWD|SETENV|NOSETENV)\s*:\s*/
const OPTION = /^(?:CWD|CHROOT|ROLE|TYPE|APPARMOR_PROFILE|PRIVS|LIMITPRIVS|NOTBEFORE|NOTAFTER|TIMEOUT)\s*=\s*\S+\s+/

function parseCommand(text: string): { runAs: string | undefined; tags: string[]; command: string } {
  const [whole = '', runAs] = /^\(\s*([^)]*?)\s*\)\s*/.exec(text) ?? []
  let rest = text.slice(whole.length)
  const tags: string[] = []
  for (;;) {
    const tag = TAGS.exec(rest)
    const skipped = tag ?? OPTION.exec(rest)
    if (!skipped) break
    if (tag) tags.push(tag[1] ?? '')
    rest = rest.slice(skipped[0].length)
  }
  const asked = whole === '' ? undefined : (runAs ?? '').replaceAll(/\s*([:,])\s*/g, '$1')
  return { runAs: asked, tags, command: rest.trim() }
}

/** NOPASSWD takes PASSWD back and the other way round. */
function mergeTags(before: readonly string[], added: readonly string[]): string[] {
  const opposite = (tag: string) => (tag.startsWith('NO') ? tag.slice(2) : `NO${tag}`)
  const against = new Set(added.map(opposite))
  return [...new Set([...before.filter((tag) => !against.has(tag)), ...added])]
}

/** `#` begins a comment, but not before a number (a uid) or within quotes, nor escaped. */
function withoutComment(line: string): string {
  let isQuoted = false
  for (let at = 0; at < line.length; at++) {
    const letter = line[at]
    if (letter === '\\') at += 1
    else if (letter === '"') isQuoted = !isQuoted
    else if (letter === '#' && !isQuoted && !/^#-?\d/.test(line.slice(at, at + 3))) return line.slice(0, at)
  }
  return line
}

/** Parts between `separator`, where it is neither escaped nor within quotes or parentheses. */
function splitOutside(text: string, separator: string): string[] {
  const parts: string[] = []
  let isQuoted = false
  let depth = 0
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]
    if (letter === '\\') at += 1
    else if (letter === '"') isQuoted = !isQuoted
    else if (isQuoted) continue
    else if (letter === '(') depth += 1
    else if (letter === ')') depth = Math.max(0, depth - 1)
    else if (letter === separator && depth === 0) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  parts.push(text.slice(from))
  return parts
}

function unquoted(text: string): string {
  return text.replaceAll(/"([^"]*)"/g, '$1').replaceAll(/\\(.)/g, '$1')
}
