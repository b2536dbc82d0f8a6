/** Playbooks of the configured folders. A file that cannot be used is named and hides no other. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { reasonOf } from '@firebreak/shared/result.ts'
import { PLAYBOOK_LIMITS, type Playbook, type PlaybookProblem } from './playbook.ts'
import { parsePlaybook } from './playbook-parse.ts'

const MAX_FILES = 1_000

export const SHIPPED_PLAYBOOKS: string = fileURLToPath(new URL('../../content/playbooks', import.meta.url))

export interface PlaybookSet {
  readonly playbooks: readonly Playbook[]
  readonly problems: readonly PlaybookProblem[]
}

export async function readPlaybooks(folders: readonly string[]): Promise<PlaybookSet> {
  const playbooks = new Map<string, Playbook>()
  const problems: PlaybookProblem[] = []
  for (const folder of folders) {
    for (const file of await filesOf(folder, problems)) {
      const read = await readPlaybook(join(folder, file), file)
      if (!read.ok) {
        problems.push(...read.problems)
        continue
      }
      const { id } = read.value.head
      const first = playbooks.get(id)
      if (first === undefined) playbooks.set(id, read.value)
      else problems.push({ file, line: 1, why: `the id ${id} is taken by ${first.file}` })
    }
  }
  return { playbooks: [...playbooks.values()], problems }
}

async function filesOf(folder: string, problems: PlaybookProblem[]): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /\.ya?ml$/i.test(name)).sort()
    if (names.length > MAX_FILES) problems.push({ file: folder, line: 0, why: `more than ${MAX_FILES} files` })
    return names.slice(0, MAX_FILES)
  } catch (thrown) {
    problems.push({ file: folder, line: 0, why: reasonOf(thrown) })
    return []
  }
}

async function readPlaybook(path: string, file: string) {
  try {
    const { size } = await stat(path)
    if (size > PLAYBOOK_LIMITS.bytes) return unusable(file, `longer than ${PLAYBOOK_LIMITS.bytes} bytes`)
    return parsePlaybook(file, await readFile(path, 'utf8'))
  } catch (thrown) {
    return unusable(file, reasonOf(thrown))
  }
}

function unusable(file: string, why: string) {
  return { ok: false, code: 'playbook_invalid', problems: [{ file, line: 0, why }] } as const
}
