/** What somebody who helps needs to see: configuration, state and health of this agent in one JSON file, without keys, codes or events. */
import { readdirSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { LoadedConfig } from './config.ts'
import { askAgent } from './control-socket.ts'
import { readHostFacts } from './facts/host-facts.ts'
import { openTrustStore } from './identity/trust-store.ts'
import { AGENT_VERSION } from './identity/version.ts'
import { readCeiling } from './orders/ceiling.ts'

const MAX_FILES = 2_000
const ASK_MS = 5_000

export async function collectDiagnostics({ config, origins }: LoadedConfig, nowMs: number): Promise<object> {
  const trust = openTrustStore(config.state_dir)
  const ceiling = readCeiling(config.ceiling)
  return {
    made_at: new Date(nowMs).toISOString(),
    version: AGENT_VERSION,
    runtime: { node: process.version, platform: process.platform, arch: process.arch, uid: process.getuid?.() },
    host: readHostFacts(),
    config: { values: config, origins: Object.fromEntries(origins) },
    ceiling: ceiling.ok ? ceiling.value : { unusable: ceiling.why },
    enrolment: trust.ok ? trust.value.enrolment : { code: trust.code, why: trust.why },
    trust_file: trust.ok ? trust.value.current().file : undefined,
    state_files: listFiles(config.state_dir),
    running_agent: await askAgent(config.run_socket, { verb: 'status' }, ASK_MS),
  }
}

/** Names, sizes and rights only: the files hold the key, events and orders. */
function listFiles(folder: string): readonly object[] {
  const found: object[] = []
  const waiting = [folder]
  try {
    for (let dir = waiting.pop(); dir !== undefined && found.length < MAX_FILES; dir = waiting.pop()) {
      for (const name of readdirSync(dir)) {
        const path = join(dir, name)
        const stat = statSync(path, { throwIfNoEntry: false })
        if (!stat) continue
        if (stat.isDirectory()) waiting.push(path)
        else
          found.push({
            path: relative(folder, path),
            bytes: stat.size,
            mode: (stat.mode & 0o7777).toString(8),
            uid: stat.uid,
            changed_at: stat.mtime.toISOString(),
          })
      }
    }
  } catch (thrown) {
    found.push({ error: reasonOf(thrown) })
  }
  return found
}
