/**
 * Recorded attacks through the whole controller: every record is stored or refused, the rules say of it what `hunt` says of the file,
 * nothing is acted on. All 104 recordings: `pnpm bench import`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ControllerProcess } from '../fault/controller-process.ts'
import { detectedIn, difference, huntedIn, importFiles, recordings, sigmaRules, writeRules } from './recordings.ts'

/** Small ones of each kind: Sysmon and Security, Winlogbeat 6, Azure, Zeek, CloudTrail, the audit system. */
const SHORT =
  /(?:sharpview_pcre_net|empire_mimikatz_opth|log4shell_cve2021_44228_java_serialized|UTICA-C|ec2_proxy_s3|sh_arp_cache|syslog_sysmon)/
const paths = recordings().filter((path) => SHORT.test(path))

describe.skipIf(paths.length === 0)('recorded attacks (skipped: ../shared/data is not beside the project)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fb-import-'))
  const stateDir = join(folder, 'state')
  let controller: ControllerProcess
  let rules: Awaited<ReturnType<typeof sigmaRules>>
  const flags = { 'detect.rule_dirs': [join(folder, 'rules')], 'detect.max_matches_per_event': 4_096 }

  beforeAll(async () => {
    // Those that say something, and some that do not: each more costs every start of a controller.
    const all = await sigmaRules(/linux|powershell|network_connection|other-products/)
    const telling = new Set([...(await huntedIn(paths, all))].map((match) => match.split(' ').at(-1)))
    rules = all.filter(({ text }, at) => at % 10 === 0 || telling.has(/^id: (\S+)/m.exec(text)?.[1]))
    writeRules(join(folder, 'rules'), rules)
    controller = await ControllerProcess.start(stateDir, flags)
  }, 120_000)
  afterAll(async () => {
    await controller.kill()
    rmSync(folder, { recursive: true, force: true })
  })

  it('are stored whole, and the rules find in them what hunt finds in the files', { timeout: 180_000 }, async () => {
    const { code, report } = await importFiles(controller, stateDir, paths)
    expect(code).toBe(0)
    expect(report.records).toBe(report.stored_records + report.refused_records)
    expect(report.refused).toEqual({})
    const detected = await detectedIn(controller, paths, report)
    const hunted = await huntedIn(paths, rules)
    expect(hunted.size).toBeGreaterThan(50)
    expect(difference(hunted, detected)).toEqual([])
    expect(difference(detected, hunted)).toEqual([])
    expect(await controller.ask('stored-events')).toBe(report.stored_events)
    const fleet = await controller.ask<{ hostname: string; imported_at: string | null }[]>('fleet')
    expect(fleet.length).toBe(report.hosts)
    expect(fleet.every(({ imported_at: at }) => at !== null)).toBe(true)
    // Whatever the playbooks made of it, nothing was ordered.
    expect(await controller.ask('commands')).toEqual([])
  })

  it('are not stored again, also not by a controller that started anew', { timeout: 120_000 }, async () => {
    const before = await controller.ask<number>('stored-events')
    await controller.kill()
    controller = await ControllerProcess.start(stateDir, flags)
    const { report } = await importFiles(controller, stateDir, paths)
    expect(report.files.every(({ state }) => state === 'known')).toBe(true)
    expect(await controller.ask('waiting')).toEqual([])
    expect(await controller.ask('stored-events')).toBe(before)
  })
})
