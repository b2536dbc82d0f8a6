/** Rule files from a folder, one file, or a tar archive (plain, gzip or zstd), with limits. */
import { createReadStream } from 'node:fs'
import { lstat, open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { pipeline, Readable, Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { type Result, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { RuleFile } from '@firebreak/shared/sigma/parse.ts'
import { YAML_LIMITS } from '@firebreak/shared/sigma/yaml-tree.ts'
import { unpackTar } from 'modern-tar'

export const RULE_LIMITS = { files: 100_000, archiveBytes: 512 * 1_048_576, depth: 32 } as const
export type RulesUnusable = 'rules_unreadable' | 'rules_empty' | 'rules_too_many'

/** `file` of each is its path relative to `path`, with `/`. */
export async function readRuleFiles(path: string): Promise<Result<readonly RuleFile[], RulesUnusable>> {
  try {
    const found = await stat(path)
    const files = found.isDirectory()
      ? await readFolder(path)
      : isRuleName(path)
        ? [await readOne(path, basename(path))]
        : await readArchive(path)
    if (files.length === 0) return refuse('rules_empty', `${path} holds no .yml or .yaml file`)
    return { ok: true, value: files }
  } catch (thrown) {
    if (thrown instanceof TooMany) return refuse('rules_too_many', thrown.message)
    return refuse('rules_unreadable', `${path}: ${reasonOf(thrown)}`)
  }
}

class TooMany extends Error {}

function isRuleName(name: string): boolean {
  return /\.ya?ml$/i.test(name)
}

/** In the order of their names. Links are not followed: a folder may hold itself. */
async function readFolder(root: string): Promise<RuleFile[]> {
  const files: RuleFile[] = []
  const visit = async (folder: string, depth: number): Promise<void> => {
    if (depth > RULE_LIMITS.depth) throw new TooMany(`folders nested deeper than ${RULE_LIMITS.depth}`)
    const entries = await readdir(join(root, folder), { withFileTypes: true })
    entries.sort((one, other) => (one.name < other.name ? -1 : 1))
    for (const entry of entries) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (entry.isDirectory()) await visit(name, depth + 1)
      else if (isRuleName(entry.name) && (entry.isFile() || entry.isSymbolicLink())) {
        if (files.length >= RULE_LIMITS.files) throw new TooMany(`more than ${RULE_LIMITS.files} rule files`)
        files.push(await readOne(join(root, name), name))
      }
    }
  }
  await visit('', 0)
  return files
}

/** A file over the parser's limit is read one byte past it, so that the parser says what is wrong. */
async function readOne(path: string, file: string): Promise<RuleFile> {
  const { size } = await stat(path)
  if (size <= YAML_LIMITS.bytes) return { file, text: await readFile(path, 'utf8') }
  return { file, text: ' '.repeat(YAML_LIMITS.bytes + 1) }
}

async function readArchive(path: string): Promise<RuleFile[]> {
  if (!(await lstat(path)).isFile()) throw new Error('neither a folder nor a file')
  const magic = Buffer.alloc(4)
  const file = await open(path, 'r')
  await file.read(magic, 0, 4, 0)
  await file.close()
  const limit = byteLimit(RULE_LIMITS.archiveBytes)
  const raw = createReadStream(path)
  const stream =
    magic[0] === 0x1f && magic[1] === 0x8b
      ? pipeline(raw, createGunzip(), limit, () => {})
      : magic.readUInt32LE(0) === 0xfd2f_b528
        ? pipeline(raw, createZstdDecompress(), limit, () => {})
        : pipeline(raw, limit, () => {})
  const entries = await unpackTar(Readable.toWeb(stream) as ReadableStream<Uint8Array>, {
    filter: ({ name, type }) => type === 'file' && isRuleName(name),
  })
  if (entries.length > RULE_LIMITS.files) throw new TooMany(`more than ${RULE_LIMITS.files} rule files`)
  return entries.map(({ header, data }) => ({
    file: header.name.replace(/^\.\//, ''),
    text:
      data === undefined || data.length > YAML_LIMITS.bytes
        ? ' '.repeat(YAML_LIMITS.bytes + 1)
        : Buffer.from(data).toString('utf8'),
  }))
}

function byteLimit(limit: number): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > limit) done(new TooMany(`the archive unpacks to more than ${limit} bytes`))
      else done(null, chunk)
    },
  })
}
