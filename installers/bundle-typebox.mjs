/**
 * typebox comes as some 700 small modules, and every process here loads it: controller, its reader threads, agent, each command. Loaded
 * as a few files that costs 0.4 s of processor time less, each time. So after an installation its public modules are replaced by bundles
 * of themselves, beside the originals; the types stay as they are. Without this step everything works, only slower.
 * Plain JavaScript of Node 20, as bootstrap.mjs, which runs it.
 */
import { existsSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Once for an installation; says whether there was anything to do. */
export async function bundleTypebox() {
  const folder = realpathSync(join(root, 'shared', 'node_modules', 'typebox'))
  const done = join(folder, 'build', '.bundled')
  if (existsSync(done)) return false
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const modules = Object.values(exports).map(({ import: path }) => path)
  const { build } = createRequire(join(root, 'installers', 'package.json'))('esbuild')
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: modules,
    // What two of them share is one file of its own: there is one typebox, whichever door it is entered by.
    splitting: true,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outbase: 'build',
    outdir: 'build',
    outExtension: { '.js': '.mjs' },
    chunkNames: 'bundled-[hash]',
    legalComments: 'none',
    write: false,
    logLevel: 'error',
  })
  // What is imported first, last: whoever starts meanwhile finds either all of the old or all of the new. Renamed, not overwritten: the
  // file is the package store's too.
  const isPublic = ({ path }) => modules.includes(`./${relative(folder, path)}`)
  for (const file of outputFiles.toSorted((a, b) => Number(isPublic(a)) - Number(isPublic(b)))) {
    writeFileSync(`${file.path}.new`, file.contents)
    renameSync(`${file.path}.new`, file.path)
  }
  writeFileSync(done, '')
  return true
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const did = await bundleTypebox()
  console.log(did ? 'typebox is bundled' : 'typebox was bundled before')
}
