/** A warning list in the format of MISP (github.com/MISP/misp-warninglists, schema.json): name, type, list. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { compileRegex } from '@firebreak/shared/sigma/regex.ts'

const TYPES = ['string', 'substring', 'hostname', 'cidr', 'regex'] as const
type WarningType = (typeof TYPES)[number]
export interface WarningList {
  readonly name: string
  readonly type: WarningType
  readonly entries: readonly string[]
  readonly regexes: readonly { readonly test: (text: string) => boolean }[]
}

const MAX_BYTES = 64 * 1_048_576
const MAX_ENTRIES = 2_000_000
/** Each is tried on every hit. */
const MAX_REGEXES = 1_000
const MAX_SUBSTRINGS = 10_000

export function parseWarningList(text: string): Result<WarningList, 'bad_warning_list'> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (thrown) {
    return refuse('bad_warning_list', `it is not JSON: ${reasonOf(thrown)}`)
  }
  const { name, type, list } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const known = TYPES.find((one) => one === type)
  if (typeof name !== 'string' || name === '' || !Array.isArray(list))
    return refuse('bad_warning_list', 'it has no name or no list')
  if (!known) return refuse('bad_warning_list', `its type is ${JSON.stringify(type)?.slice(0, 80) ?? 'missing'}`)
  const entries = list
    .filter((entry): entry is string => typeof entry === 'string' && entry.trim() !== '')
    .map((entry) => entry.trim())
  if (entries.length !== list.length) return refuse('bad_warning_list', 'it holds entries that are no text')
  const most = known === 'regex' ? MAX_REGEXES : known === 'substring' ? MAX_SUBSTRINGS : MAX_ENTRIES
  if (entries.length > most) return refuse('bad_warning_list', `it holds more than ${most} entries`)
  if (known !== 'regex') return ok({ name: name.slice(0, 200), type: known, entries, regexes: [] })
  const regexes: WarningList['regexes'][number][] = []
  for (const entry of entries) {
    // `/.../i` as MISP writes them.
    const delimited = /^\/(.*)\/([imsu]*)$/s.exec(entry)
    const compiled = compileRegex(delimited?.[1] ?? entry, { i: true, m: false, s: false })
    if (!compiled.ok) return refuse('bad_warning_list', `${entry.slice(0, 80)}: ${compiled.why}`)
    regexes.push({ test: compiled.value.test })
  }
  return ok({ name: name.slice(0, 200), type: known, entries: [], regexes })
}

/** All lists below the folders. What cannot be read is named, and the others are taken. */
export function readWarningLists(
  folders: readonly string[],
  refused: (file: string, why: string) => void,
): readonly WarningList[] {
  const lists: WarningList[] = []
  for (const folder of folders) {
    let names: string[]
    try {
      names = readdirSync(folder, { recursive: true })
        .map(String)
        .filter((name) => name.endsWith('.json'))
        .sort()
    } catch (thrown) {
      refused(folder, reasonOf(thrown))
      continue
    }
    for (const name of names) {
      const file = join(folder, name)
      try {
        if (statSync(file).size > MAX_BYTES) refused(file, `larger than ${MAX_BYTES} bytes`)
        else {
          const list = parseWarningList(readFileSync(file, 'utf8'))
          if (list.ok) lists.push(list.value)
          else refused(file, list.why)
        }
      } catch (thrown) {
        refused(file, reasonOf(thrown))
      }
    }
  }
  return lists
}
