import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Many tests start agents, controllers and commands from their sources: each loads in two thirds of the time when what Node made of
// them before is kept.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules', '.cache', 'compiled')

/** Rooms whose tests start no program, hold no engine open and change nothing of their process: one after the other in one process. */
const ROOMS = [
  'shared/src/**/*.test.ts',
  'agent/src/{facts,identity,orders,collectors/inventory}/**/*.test.ts',
  'controller/content/**/*.test.ts',
  'controller/src/{access,api,audit,detect,fleet,gateway,import,orders,respond,triage,trust}/**/*.test.ts',
]

/** What compares times, or looks at everything that happens on the machine, and so must have it for itself. */
const ALONE = [
  'agent/sensor/files.test.ts',
  'controller/src/store/telemetry/merging.test.ts',
  'test/e2e/lab-remains.test.ts',
  'test/fault/{backpressure,reconnect-storm}.test.ts',
]

/** What takes longest starts first, or the last minute is one file long; those of the rooms fill the gaps at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) =>
      project.name === 'unit-rooms'
        ? 2
        : /\/test\/fault\/|\/isolation\.test|\/main\.test|\/up\.test|-failures\.test/.test(moduleId)
          ? 0
          : 1
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    passWithNoTests: false,
    // Most of them wait for the world rather than compute: one more than there are cores of a small machine.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{shared,agent,controller,installers}/**/*.test.ts', 'test/{fault,data,lab}/**/*.test.ts'],
          exclude: ['**/node_modules/**', ...ROOMS, ...ALONE],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'unit-rooms',
          include: ROOMS,
          exclude: ['**/node_modules/**'],
          isolate: false,
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'alone',
          include: ALONE,
          exclude: ['**/node_modules/**'],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: ['**/node_modules/**', ...ALONE],
          testTimeout: 180_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
