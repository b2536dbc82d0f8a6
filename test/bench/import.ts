/**
 * All recorded attacks beside the project through one controller with the rules of SigmaHQ: how fast, whether every record is accounted
 * for, and whether the rules find exactly what `hunt` finds in the files.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  detectedIn,
  difference,
  huntedIn,
  importFiles,
  recordings,
  sigmaRules,
  writeRules,
} from '../data/recordings.ts'
import { ControllerProcess } from '../fault/controller-process.ts'
import type { Bench } from './bench.ts'

const SHORT_FORM = 12

export const importBench: Bench = {
  name: 'import',
  describe: 'recorded attacks through the whole controller: records in, stored, refused; the same matches as hunt',
  async run({ short, say }) {
    const all = recordings()
    if (all.length === 0) throw new Error('there are no recordings: ../shared/data is not beside the project')
    const paths = short ? all.slice(0, SHORT_FORM) : all
    const folder = mkdtempSync(join(tmpdir(), 'fb-bench-import-'))
    try {
      const rules = await sigmaRules()
      writeRules(join(folder, 'rules'), rules)
      const stateDir = join(folder, 'state')
      const controller = await ControllerProcess.start(stateDir, {
        'detect.rule_dirs': [join(folder, 'rules')],
        'detect.max_matches_per_event': 4_096,
      })
      try {
        const started = performance.now()
        const { report } = await importFiles(controller, stateDir, paths, say)
        const takenS = (performance.now() - started) / 1_000
        say(`${report.records} records taken in ${takenS.toFixed(1)} s`)
        const detected = await detectedIn(controller, paths, report)
        const doneS = (performance.now() - started) / 1_000
        say(`all detected upon and in the telemetry store after ${doneS.toFixed(1)} s`)
        const hunted = await huntedIn(paths, rules)
        const missing = difference(hunted, detected)
        const surplus = difference(detected, hunted)
        for (const each of [...missing.slice(0, 5), ...surplus.slice(0, 5)]) say(`differs: ${each}`)
        for (const [reason, records] of Object.entries(report.refused)) say(`refused: ${reason} ${records}`)
        return {
          metrics: {
            recordings: report.files.length,
            records: report.records,
            stored_records: report.stored_records,
            refused_records: report.refused_records,
            stored_events: report.stored_events,
            events_in_store: await controller.ask<number>('stored-events'),
            hosts: report.hosts,
            matches: detected.size,
            matches_only_hunt: missing.length,
            matches_only_import: surplus.length,
            incidents: (await controller.ask<unknown[]>('incidents')).length,
            commands: (await controller.ask<unknown[]>('commands')).length,
            taken_per_s: report.records / takenS,
            done_per_s: report.records / doneS,
          },
          ratios: {},
        }
      } finally {
        await controller.kill()
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}
