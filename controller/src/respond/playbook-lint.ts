/** `firebreak playbooks lint`: what is wrong with playbooks before a controller reads them. */
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { readFile } from 'node:fs/promises'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { PlaybookProblem } from './playbook.ts'
import { readPlaybooks } from './playbook-files.ts'
import { parsePlaybook } from './playbook-parse.ts'

export interface LintReport {
  readonly playbooks: readonly { readonly id: string; readonly title: string; readonly file: string }[]
  /** Empty: a controller takes them all. */
  readonly problems: readonly PlaybookProblem[]
}

/** Each path is a file or a folder. */
export async function lintPlaybooks(paths: readonly string[]): Promise<LintReport> {
  const playbooks: LintReport['playbooks'][number][] = []
  const problems: PlaybookProblem[] = []
  for (const path of paths) {
    const found = await lintPath(path)
    playbooks.push(...found.playbooks)
    problems.push(...found.problems)
  }
  return { playbooks, problems }
}

async function lintPath(path: string): Promise<LintReport> {
  try {
    if ((await stat(path)).isDirectory()) {
      const set = await readPlaybooks([path])
      return {
        playbooks: set.playbooks.map(({ head, file }) => ({ id: head.id, title: head.title, file: join(path, file) })),
        problems: set.problems.map((problem) => ({ ...problem, file: join(path, problem.file) })),
      }
    }
    const parsed = parsePlaybook(basename(path), await readFile(path, 'utf8'))
    const file = join(dirname(path), basename(path))
    if (!parsed.ok) return { playbooks: [], problems: parsed.problems.map((problem) => ({ ...problem, file })) }
    return { playbooks: [{ id: parsed.value.head.id, title: parsed.value.head.title, file }], problems: [] }
  } catch (thrown) {
    return { playbooks: [], problems: [{ file: path, line: 0, why: reasonOf(thrown) }] }
  }
}
