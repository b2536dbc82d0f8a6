/** The agent as one executable file: esbuild bundles it, @yao-pkg/pkg puts it into a copy of the project's own Node. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(dirname(here))
export const DIST: string = join(root, 'installers', 'dist')
const target = `node${process.versions.node}-linux-${process.arch}`

/** Builds the executable, or returns the one built from the same sources and the same Node before. */
export async function buildAgentBinary(): Promise<string> {
  mkdirSync(DIST, { recursive: true })
  const bundle = await bundleAgent()
  const digest = createHash('sha256').update(bundle).update(target).digest('hex').slice(0, 16)
  const binary = join(DIST, `firebreak-agent-${target}-${digest}`)
  if (existsSync(binary)) return binary
  const work = mkdtempSync(join(DIST, 'work-'))
  try {
    writeFileSync(join(work, 'agent.cjs'), bundle)
    provideBaseBinary(work)
    const pkg = join(dirname(createRequire(import.meta.url).resolve('@yao-pkg/pkg/package.json')), 'lib-es5', 'bin.js')
    execFileSync(process.execPath, [pkg, '--sea', '-t', target, '-o', join(work, 'agent'), join(work, 'agent.cjs')], {
      // pkg looks for its base binary in the home's cache; a home of our own keeps the user's as it is.
      env: { ...process.env, HOME: work },
      cwd: work,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const version = execFileSync(join(work, 'agent'), ['version'], { encoding: 'utf8' })
    if (version.trim() !== agentVersion()) throw new Error(`the built executable answers ${JSON.stringify(version)}`)
    renameSync(join(work, 'agent'), binary)
    return binary
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function bundleAgent(): Promise<Uint8Array> {
  const result = await build({
    entryPoints: [join(root, 'agent', 'src', 'main.ts')],
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'cjs',
    minifySyntax: true,
    legalComments: 'none',
    // Speed-ups of ws that are used when somebody installed them; ws works without.
    external: ['bufferutil', 'utf-8-validate', 'fsevents'],
    write: false,
    logLevel: 'error',
  })
  const output = result.outputFiles[0]
  if (!output) throw new Error('esbuild wrote nothing')
  return output.contents
}

/** Puts this very Node where pkg expects its download (design: nothing is fetched from outside the package registry). */
function provideBaseBinary(home: string): void {
  const name = `node-v${process.versions.node}-linux-${process.arch}`
  const cache = join(home, '.pkg-cache', 'sea')
  mkdirSync(join(cache, name, 'bin'), { recursive: true })
  const node = join(cache, name, 'bin', 'node')
  copyFileSync(process.execPath, node)
  // Symbols are a quarter of it. They go before the program is put in: strip drops what was added after the build.
  if (existsSync('/usr/bin/strip')) execFileSync('/usr/bin/strip', ['--strip-unneeded', node])
  execFileSync('tar', ['-C', cache, '--use-compress-program=gzip -1', '-cf', join(cache, `${name}.tar.gz`), name])
  writeFileSync(join(cache, `${name}.tar.gz.ok`), '')
}

export function agentVersion(): string {
  return (JSON.parse(readFileSync(join(root, 'agent', 'package.json'), 'utf8')) as { version: string }).version
}
