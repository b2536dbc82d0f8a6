/** A whole controller on free ports and in a directory of its own, for tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Config, loadConfig } from './config.ts'
import { type Controller, createController, type Started } from './controller.ts'
import { createLogger } from './log.ts'

export interface Rig {
  readonly controller: Controller
  readonly started: Started
  readonly stateDir: string
  readonly config: Config
  /** What the controller logged. */
  readonly lines: string[]
  stop(): Promise<void>
}

/** `stateDir`: goes on with that state, and leaves it there. */
export async function startRig(flags: Readonly<Record<string, unknown>> = {}, stateDir?: string): Promise<Rig> {
  const dir = stateDir ?? mkdtempSync(join(tmpdir(), 'fb-controller-'))
  const config = testConfig(dir, flags)
  const lines: string[] = []
  const logger = createLogger('debug', { write: (line) => lines.push(line) })
  const controller = await createController(config, { logger })
  const started = await controller.start()
  return {
    controller,
    started,
    stateDir: dir,
    config,
    lines,
    async stop() {
      await controller.stop()
      if (stateDir === undefined) rmSync(dir, { recursive: true, force: true })
    },
  }
}

export function testConfig(stateDir: string, flags: Readonly<Record<string, unknown>> = {}): Config {
  const loaded = loadConfig({
    file: join(stateDir, 'controller.yaml'),
    fileRequired: false,
    environment: {},
    flags: {
      state_dir: stateDir,
      'api.port': 0,
      'gateway.host': '127.0.0.1',
      'gateway.port': 0,
      'gateway.public': ['127.0.0.1:8421'],
      ...flags,
    },
  })
  if (!loaded.ok) throw new Error(loaded.why)
  return loaded.value.config
}
