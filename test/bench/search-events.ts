/**
 * A fleet's events, made by the engine itself so that millions take minutes: 2,000 hosts over 28 days, each kind as often as on real
 * hosts, programs and domains by a steep distribution, hashes of what is installed, addresses that come once and that come always.
 */

export const HOSTS = 2_000
export const DAYS = 28
/** Days before the first one; a fixed date, so that each run is the same. */
const FIRST_DAY = '2026-02-01 00:00:00'

export function dayText(day: number): string {
  return new Date(Date.parse(`${FIRST_DAY.replace(' ', 'T')}Z`) + day * 86_400_000).toISOString().slice(0, 10)
}

/** Values that surely occur, for look-ups: of event `n`. All are functions of `n` alone. */
const HASH = (n: string) =>
  `lower(hex(SHA256(toString(intDiv(cityHash64(${n}) % 1000000, 1 + cityHash64(${n}, 7) % 1000)))))`
const ENTITY = (n: string) => `concat('b', toString(${n} % ${HOSTS}), '.', lower(hex(cityHash64(${n}, 1))))`
const ADDRESS = (n: string) =>
  `concat(toString(20 + cityHash64(${n}, 2) % 180), '.', toString(cityHash64(${n}, 3) % 40), '.', toString(cityHash64(${n}, 4) % 40), '.', toString(cityHash64(${n}, 5) % 250))`
const WORD = (n: string) => `concat('job', toString(cityHash64(${n}, 6) % 300000))`

export const VALUES = { hash: HASH, entity: ENTITY, address: ADDRESS, word: WORD } as const

/** Class by the last digits of the number. */
export const CLASSES = {
  process: 'number % 20 < 9',
  network: 'number % 20 >= 9 and number % 20 < 14',
  file: 'number % 20 >= 14',
} as const

/** Of the events `from` up to `from + count`, all of one day, those of one class; as one block. */
export function insertStatement(
  table: string,
  eventClass: keyof typeof CLASSES,
  from: number,
  count: number,
  day: number,
): string {
  const n = 'number'
  const program = `['bash','sh','ls','grep','sshd','cron','python3','systemd','apt','curl','cat','node','java','postgres','nginx','git'][1 + toUInt32(16 * pow((cityHash64(${n}, 8) % 1000) / 1000, 3))]`
  const time = `formatDateTime(toDateTime('${FIRST_DAY}', 'UTC') + ${day} * 86400 + intDiv((number - ${from}) * 86400, ${count}), '%Y-%m-%dT%H:%i:%S')`
  const head = (category: string, type: string, action: string) =>
    `'{"@timestamp":"', ${time}, '.', leftPad(toString(number % 1000), 3, '0'), 'Z","event":{"kind":"event","category":["${category}"],"type":["${type}"],"action":"${action}","dataset":"firebreak.${category}","provider":"kernel"},"host":{"name":"host-', toString(number % ${HOSTS}), '","os":{"type":"linux"}},"process":{"pid":', toString(1000 + number % 30000), ',"entity_id":"', ${ENTITY(n)}, '","name":"', ${program}, '","executable":"/usr/bin/', ${program}, '"'`
  const started = `concat(${head('process', 'start', 'process-started')}, ',"command_line":"', ${program}, ' --quiet --task ', ${WORD(n)}, ' /srv/app/', toString(cityHash64(${n}, 9) % 5000), '","working_directory":"/srv/app","args_count":5,"user":{"id":"', toString(number % 7), '","name":"user', toString(number % 7), '"},"hash":{"sha256":"', ${HASH(n)}, '"},"parent":{"pid":', toString(1 + number % 900), ',"entity_id":"', ${ENTITY(`intDiv(${n}, ${HOSTS * 20}) * ${HOSTS} + ${n} % ${HOSTS}`)}, '","name":"systemd","executable":"/usr/lib/systemd/systemd"}}}')`
  const connected = `concat(${head('network', 'connection', 'connection-opened')}, '},"source":{"ip":"10.', toString(number % 8), '.', toString(number % 200), '.7","port":', toString(30000 + number % 30000), '},"destination":{"ip":"', ${ADDRESS(n)}, '","port":', ['443','80','53','5432'][1 + number % 4], ',"domain":"api', toString(toUInt32(50000 * pow((cityHash64(${n}, 10) % 10000) / 10000, 4))), '.example.net"},"network":{"transport":"tcp","direction":"egress","type":"ipv4"}}')`
  const file = `concat(${head('file', 'creation', 'file-created')}, '},"file":{"path":"/srv/app/', toString(cityHash64(${n}, 11) % 3000), '/data-', toString(cityHash64(${n}, 12) % 200000), '.tmp","name":"data-', toString(cityHash64(${n}, 12) % 200000), '.tmp","extension":"tmp","size":', toString(cityHash64(${n}, 13) % 100000), ',"mode":"0644"}}')`
  const text = { process: started, network: connected, file }
  return `insert into ${table} (agent_id, epoch, class, seq, ingested, raw)
    select concat(leftPad(toString(number % ${HOSTS}), 6, 'a'), repeat('h', 20)), toUUID('01a20d6d-5b90-7c9b-8378-2e328fd2af15'),
      '${eventClass}', number, toDateTime64('${FIRST_DAY}', 3, 'UTC') + toIntervalDay(${day}), ${text[eventClass]}
    from numbers(${from}, ${count}) where ${CLASSES[eventClass]}
    settings max_threads = 2, max_insert_threads = 1, max_block_size = 65536, min_insert_block_size_rows = 100000000, min_insert_block_size_bytes = 0, max_memory_usage = 0`
}
