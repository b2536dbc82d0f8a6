/** A unit file with its drop-ins, as far as an inventory needs it. Source: systemd.syntax(7), systemd.unit(5), .service, .timer, .socket, .path. */
import type { InventoryFacts } from '@firebreak/shared/events/inventory.ts'

export interface UnitText {
  readonly facts: InventoryFacts
  /** It has an [Install] section with something in it, so it can be enabled. */
  readonly isInstallable: boolean
}

/** Setting → fact. Settings that may come several times, and are emptied by an empty one. */
const SETTINGS: Readonly<Record<string, string>> = {
  'Service.ExecStart': 'exec_start',
  'Service.ExecStartPre': 'exec_start_pre',
  'Service.ExecStartPost': 'exec_start_post',
  'Service.User': 'user',
  'Timer.OnCalendar': 'on_calendar',
  'Timer.OnBootSec': 'on_boot',
  'Timer.OnStartupSec': 'on_startup',
  'Timer.OnActiveSec': 'on_active',
  'Timer.OnUnitActiveSec': 'on_unit_active',
  'Timer.OnUnitInactiveSec': 'on_unit_inactive',
  'Timer.Unit': 'starts',
  'Path.Unit': 'starts',
  'Path.PathExists': 'path_exists',
  'Path.PathChanged': 'path_changed',
  'Path.PathModified': 'path_modified',
  'Socket.ListenStream': 'listen',
  'Socket.ListenDatagram': 'listen',
}
const SINGLE = new Set(['user', 'starts'])
const MAX_VALUE = 2_048
const MAX_VALUES = 32

/** `files`: lines of the unit file, then of its drop-ins in their order. */
export function parseUnit(files: readonly (readonly string[])[]): UnitText {
  const values = new Map<string, string[]>()
  let isInstallable = false
  for (const lines of files) {
    let section = ''
    for (const line of joined(lines)) {
      const header = /^\[([^\]]{1,128})\]$/.exec(line)?.[1]
      if (header !== undefined) {
        section = header
        continue
      }
      const at = line.indexOf('=')
      if (at <= 0) continue
      const name = line.slice(0, at).trim()
      const value = line.slice(at + 1).trim()
      if (section === 'Install' && value !== '') isInstallable = true
      const fact = SETTINGS[`${section}.${name}`]
      if (fact === undefined) continue
      if (value === '' || SINGLE.has(fact)) values.set(fact, [])
      const known = values.get(fact) ?? []
      if (value !== '' && known.length < MAX_VALUES) values.set(fact, [...known, value.slice(0, MAX_VALUE)])
    }
  }
  const facts: Record<string, string | string[]> = {}
  for (const [fact, list] of values) {
    const [first] = list
    if (first !== undefined) facts[fact] = SINGLE.has(fact) ? first : list
  }
  return { facts, isInstallable }
}

/** Without comments and blank lines; a backslash at the end joins the next line by a space, comments in between left out. */
function* joined(lines: readonly string[]): Generator<string> {
  let begun = ''
  for (const raw of lines) {
    const line = raw.trim()
    if (/^[#;]/.test(line)) continue
    if (line.endsWith('\\') && begun.length < 65_536) {
      begun += `${line.slice(0, -1)} `
      continue
    }
    const whole = begun + line
    begun = ''
    if (whole !== '') yield whole
  }
  if (begun !== '') yield begun
}
