/** The lines of crontab(5) and anacrontab(5), and the names and heads of at(1)'s jobs. */

export interface CronJob {
  readonly schedule: string
  /** Undefined where the file says whose jobs it holds. */
  readonly user: string | undefined
  readonly command: string
}

const MAX_LINE = 16_384
const FIELD = String.raw`[\d*/,~A-Za-z-]{1,100}`
const TIMES = new RegExp(`^((?:${FIELD}[ \\t]+){4}${FIELD})[ \\t]+(\\S.*)$`)
const NAMED = /^(@(?:reboot|yearly|annually|monthly|weekly|daily|midnight|hourly))[ \t]+(\S.*)$/
const VARIABLE = /^["']?[A-Za-z_]\w{0,200}["']?[ \t]*=/

/** Undefined for what says nothing: blank lines, comments, variables. `hasUser`: a user stands between schedule and command. */
export function parseCronLine(line: string, hasUser: boolean): CronJob | 'malformed' | undefined {
  const text = line.trim()
  if (text === '' || text.startsWith('#') || VARIABLE.test(text)) return undefined
  if (text.length > MAX_LINE) return 'malformed'
  const [, schedule, rest] = NAMED.exec(text) ?? TIMES.exec(text) ?? []
  if (schedule === undefined || rest === undefined) return 'malformed'
  const times = schedule.split(/[ \t]+/).join(' ')
  if (!hasUser) return { schedule: times, user: undefined, command: rest }
  const [, user, command] = /^(\S{1,256})[ \t]+(\S.*)$/.exec(rest) ?? []
  return user === undefined || command === undefined ? 'malformed' : { schedule: times, user, command }
}

/** `period delay name command`; undefined for everything else. */
export function parseAnacronLine(line: string): { readonly schedule: string; readonly command: string } | undefined {
  const text = line.trim()
  if (text.startsWith('#') || text.length > MAX_LINE || VARIABLE.test(text)) return undefined
  const [, period, name, command] = /^(@\w{1,16}|\d{1,5})[ \t]+\d{1,5}[ \t]+(\S{1,200})[ \t]+(\S.*)$/.exec(text) ?? []
  if (period === undefined || name === undefined || command === undefined) return undefined
  return { schedule: `anacron ${period.startsWith('@') ? period : `every ${period} days`} ${name}`, command }
}

/**
 * Name of a job of at: its queue, its number in 5 hexadecimal digits, its minute since 1970 in 8. Its text begins with a line that names
 * its user, then the environment, then what it runs.
 */
export function parseAtJob(
  name: string,
  text: string,
): { readonly at: string; readonly user: string; readonly command: string } | undefined {
  const minute = /^[a-zA-Z=][0-9a-f]{5}([0-9a-f]{8})$/.exec(name)?.[1]
  if (minute === undefined) return undefined
  const user = /^# atrun uid=(\d{1,10})/m.exec(text)?.[1] ?? 'unknown'
  const at = new Date(Number.parseInt(minute, 16) * 60_000).toISOString().slice(0, 16)
  const lines = text.split('\n')
  // After `cd ... || { ... }`, as at writes it; a text of another shape is taken from its end.
  const from = lines.findIndex((line) => line === '}')
  const command = lines
    .slice(from + 1)
    .filter((line) => line.trim() !== '' && !/^(?:#|marcinDELIMITER[0-9a-f]*|\$\{SHELL)/.test(line))
    .join('\n')
  return { at, user, command: command.slice(0, 2_048) }
}
