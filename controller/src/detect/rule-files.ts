/** Rule files of a folder and its subfolders, in the order of their names, under limits. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import type { RuleFile } from '@firebreak/shared/sigma/parse.ts'

export const RULE_LIMITS = { files: 50_000, fileBytes: 1_048_576, depth: 16 } as const

/** What could be read; what could not is named beside it and hides nothing else. */
export interface RuleFiles {
  readonly files: readonly RuleFile[]
  readonly unreadable: readonly { readonly file: string; readonly why: string }[]
}

export async function readRuleFiles(folders: readonly string[]): Promise<Result<RuleFiles, 'folder_unreadable'>> {
  const files: RuleFile[] = []
  const unreadable: { file: string; why: string }[] = []
  for (const folder of folders) {
    try {
      if (!(await stat(folder)).isDirectory()) return refuse('folder_unreadable', `${folder} is not a folder`)
      await walk(folder, folder, 0, files, unreadable)
    } catch (thrown) {
      return refuse('folder_unreadable', `the rules folder ${folder} cannot be read: ${reasonOf(thrown)}`)
    }
  }
  return ok({ files, unreadable })
}

async function walk(
  root: string,
  folder: string,
  depth: number,
  files: RuleFile[],
  unreadable: { file: string; why: string }[],
): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true })
  entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  for (const entry of entries) {
    const path = join(folder, entry.name)
    const file = relative(root, path).split(sep).join('/')
    if (entry.isDirectory()) {
      if (depth < RULE_LIMITS.depth) await walk(root, path, depth + 1, files, unreadable)
      else unreadable.push({ file, why: `deeper than ${RULE_LIMITS.depth} folders` })
      continue
    }
    if (!entry.isFile() || !/\.ya?ml$/i.test(entry.name)) continue
    if (files.length >= RULE_LIMITS.files) {
      unreadable.push({ file, why: `more than ${RULE_LIMITS.files} files` })
      continue
    }
    try {
      const { size } = await stat(path)
      if (size > RULE_LIMITS.fileBytes) unreadable.push({ file, why: `larger than ${RULE_LIMITS.fileBytes} bytes` })
      else files.push({ file, text: await readFile(path, 'utf8') })
    } catch (thrown) {
      unreadable.push({ file, why: reasonOf(thrown) })
    }
  }
}
