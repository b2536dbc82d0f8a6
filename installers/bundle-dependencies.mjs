/**
 * Some dependencies come as hundreds of small modules, and every process here loads them: controller, its reader threads, agent, each
 * command. Loaded as a few files typebox alone costs 0.35 s of processor time less, each time. So after an installation their public
 * modules are replaced by bundles of themselves, beside the originals; the types stay as they are. Without this step everything works,
 * only slower. Plain JavaScript of Node 20, as bootstrap.mjs, which runs it.
 */
import { existsSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** Dependency → a package of ours that has it. They depend on nothing themselves. */
const MANY_MODULES = { typebox: 'shared', kysely: 'controller' }

/** Once for an installation. */
export async function bundleDependencies() {
  for (const [name, user] of Object.entries(MANY_MODULES)) {
    const folder = realpathSync(join(root, user, 'node_modules', name))
    const done = join(folder, '.bundled')
    if (existsSync(done)) continue
    await bundle(folder)
    writeFileSync(done, '')
  }
}

async function bundle(folder) {
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const modules = Object.values(exports).map((one) => (typeof one === 'string' ? one : (one.import ?? one.default)))
  const [first] = modules
  const built = first.split('/')[1]
  const { build } = createRequire(join(root, 'installers', 'package.json'))('esbuild')
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: modules,
    // What two of them share is one file of its own: there is one of everything, whichever door it is entered by.
    splitting: true,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outbase: built,
    outdir: built,
    outExtension: { '.js': extname(first) },
    chunkNames: 'bundled-[hash]',
    keepNames: true,
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
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundleDependencies()
