/**
 * The recorded attacks beside the project, taken in by a controller of its own through its own command line; what its rules said about
 * them, and what the same rules say when they are run over the files (`firebreak hunt`).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ImportReport } from '@firebreak/controller/src/cli/events-import.ts'
import { eventLines } from '@firebreak/controller/src/cli/hunt-events.ts'
import { hunt } from '@firebreak/controller/src/cli/hunt-run.ts'
import { readRuleFiles } from '@firebreak/controller/src/cli/hunt-rules.ts'
import { type Io, processIo } from '@firebreak/controller/src/cli/io.ts'
import { runCli } from '@firebreak/controller/src/cli/program.ts'
import { importedAgentId, importEpoch } from '@firebreak/controller/src/import/import-ids.ts'
import { hostNameOfFile } from '@firebreak/controller/src/import/imports.ts'
import { classOf } from '@firebreak/shared/events/classes.ts'
import { RecordingReader } from '@firebreak/shared/recordings/recording.ts'
import { parseRules, type RuleFile } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'
import { ruleKey } from '@firebreak/shared/sigma/rule.ts'
import type { ControllerProcess } from '../fault/controller-process.ts'

const DATA = resolve(import.meta.dirname, '../../../shared/data')
const RECORDINGS = join(DATA, 'otrf-security-datasets/data')
const RULES = join(DATA, 'sigma-rules')

/** Paths of all of them, in the order of their names; none when the data is not there. */
export function recordings(): readonly string[] {
  if (!existsSync(RECORDINGS) || !existsSync(RULES)) return []
  return readdirSync(RECORDINGS)
    .sort()
    .map((name) => join(RECORDINGS, name))
}

/** The rules of SigmaHQ, or those of the archives that are named; what SigmaHQ keeps as unsupported is left out. */
export async function sigmaRules(only?: RegExp): Promise<readonly RuleFile[]> {
  const archives = readdirSync(RULES).filter((name) => /^rules.*\.tar\.gz$/.test(name))
  const files: RuleFile[] = []
  for (const archive of archives) {
    if (only !== undefined && !only.test(archive)) continue
    const read = await readRuleFiles(join(RULES, archive))
    if (!read.ok) throw new Error(read.why)
    files.push(...read.value.map(({ file, text }) => ({ file: `${basename(archive, '.tar.gz')}/${file}`, text })))
  }
  return files
}

export function writeRules(folder: string, files: readonly RuleFile[]): void {
  for (const [at, { text }] of files.entries()) {
    mkdirSync(join(folder, String(at % 16)), { recursive: true })
    writeFileSync(join(folder, String(at % 16), `${at}.yml`), text)
  }
}

/** What `hunt` says of the files: `name line rule`, once each. */
export async function huntedIn(paths: readonly string[], files: readonly RuleFile[]): Promise<ReadonlySet<string>> {
  const parsed = parseRules(files)
  const plan = compilePlan(parsed.rules, { filters: parsed.filters, correlations: parsed.correlations })
  const found = new Set<string>()
  for (const path of paths) {
    // Logs of the audit system are no JSON: hunt does not read them.
    if (!path.includes('.json')) continue
    const emit = ({ event, rule }: Parameters<Parameters<typeof hunt>[2]>[0]) =>
      found.add(`${basename(path)} ${event + 1} ${ruleKey(rule)}`)
    await hunt(plan, eventLines(path), emit, async () => {})
  }
  return found
}

/** `firebreak events import FILES... --json`, as a person would run it. */
export async function importFiles(
  controller: Pick<ControllerProcess, 'apiUrl'>,
  stateDir: string,
  argv: readonly string[],
  say: (line: string) => void = () => {},
): Promise<{ readonly code: number; readonly report: ImportReport }> {
  let out = ''
  const io: Io = {
    ...processIo(),
    out: (text) => {
      out += text
    },
    say,
    spinnerOn: undefined,
    env: {
      FIREBREAK_API: controller.apiUrl,
      FIREBREAK_TOKEN: readFileSync(join(stateDir, 'admin.token'), 'utf8').trim(),
    },
    cwd: stateDir,
    columns: 100,
    outIsTerminal: false,
    canAsk: false,
    ask: () => Promise.reject(new Error('nobody is asked')),
  }
  const code = await runCli(['events', 'import', '--json', ...argv], {
    io,
    now: () => Date.now(),
    sleep: async (ms) => {
      await sleep(ms)
    },
  })
  if (out === '') throw new Error(`the import ended with ${code} and said nothing`)
  return { code, report: JSON.parse(out) as ImportReport }
}

/** What the controller's rules said: `name line rule`. Waits until everything is detected upon and in the telemetry store. */
export async function detectedIn(
  controller: ControllerProcess,
  paths: readonly string[],
  report: ImportReport,
): Promise<ReadonlySet<string>> {
  while ((await controller.ask<unknown[]>('waiting')).length > 0) await sleep(50)
  const lines = new Map<string, string>()
  for (const path of paths) {
    const known = report.files.find(({ file }) => file === basename(path))
    if (known?.file_sha256 === undefined || !path.includes('.json')) continue
    await numberLines(path, known.file_sha256, lines)
  }
  const found = new Set<string>()
  type Said = { readonly rule_id: string; readonly event_id: string }
  for (const { rule_id: rule, event_id: eventId } of await controller.ask<readonly Said[]>('signals')) {
    const line = lines.get(eventId)
    if (line !== undefined) found.add(`${line} ${rule}`)
  }
  return found
}

/** The numbers of an import follow from the file alone, so they are worked out here once more. */
async function numberLines(path: string, fileSha256: string, into: Map<string, string>): Promise<void> {
  const reader = new RecordingReader({
    readAs: 'auto',
    fileSha256,
    defaultHost: hostNameOfFile(basename(path)),
    nowMs: 0,
  })
  const last = new Map<string, number>()
  let line = 0
  for await (const batch of eventLines(path))
    for (const read of batch) reader.push(read.kind === 'text' ? read.text : { bytes: read.bytes }, ++line)
  reader.end()
  for (const { host, event, line: at } of reader.take().events) {
    const agentId = importedAgentId(host)
    const stream = `${agentId}:${importEpoch(fileSha256, '', agentId, 0)}:${classOf(event)}`
    const seq = (last.get(stream) ?? 0) + 1
    last.set(stream, seq)
    into.set(`${stream}:${seq}`, `${basename(path)} ${at}`)
  }
}

export function difference(one: ReadonlySet<string>, other: ReadonlySet<string>): readonly string[] {
  return [...one].filter((entry) => !other.has(entry)).sort()
}
