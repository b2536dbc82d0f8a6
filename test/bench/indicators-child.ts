/** One way to hold indicators, measured alone: `node --expose-gc indicators-child.ts table|set COUNT`. */
import { MatchTable, tableMemory } from '@firebreak/shared/indicators/match-table.ts'

const [, , kind, text] = process.argv
const count = Number(text)
const LOOKUPS = 400_000

/** A third domains, a third addresses, a third digests; texts of their own, as a reader of events has them. */
function value(n: number): { readonly type: 'domain' | 'ipv4' | 'sha256'; readonly value: string } {
  if (n % 3 === 0) return { type: 'domain', value: `host-${n}.evil-${n % 99_991}.example` }
  if (n % 3 === 1) return { type: 'ipv4', value: `${1 + (n % 220)}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}` }
  return { type: 'sha256', value: n.toString(16).padStart(8, '0').repeat(8) }
}

/** Flat and new, as texts are that come out of JSON: no hash of it is remembered yet. */
function fresh(n: number): { readonly type: 'domain' | 'ipv4' | 'sha256'; readonly value: string } {
  const one = value(n)
  return { type: one.type, value: Buffer.from(one.value).toString('latin1') }
}

interface Holder {
  add(one: ReturnType<typeof fresh>): void
  has(one: ReturnType<typeof fresh>): boolean
}

function holder(): Holder {
  if (kind === 'set') {
    const set = new Set<string>()
    return { add: (one) => void set.add(one.value), has: (one) => set.has(one.value) }
  }
  const table = new MatchTable(tableMemory(count))
  return {
    add: (one) => void table.add(one.type, one.value),
    has: ({ type, value: wanted }) => {
      if (type === 'domain') return table.hasDomain(wanted)
      return type === 'ipv4' ? table.hasAddress(wanted) : table.hasText(type, wanted)
    },
  }
}

globalThis.gc?.()
const before = process.memoryUsage().rss
const started = performance.now()
const held = holder()
for (let n = 0; n < count; n++) held.add(fresh(n))
const buildMs = performance.now() - started
globalThis.gc?.()
const rss = process.memoryUsage().rss - before

function measured(from: number): { readonly perSecond: number; readonly found: number } {
  let least = Number.POSITIVE_INFINITY
  let found = 0
  for (let round = 0; round < 4; round++) {
    const asked = Array.from({ length: LOOKUPS }, (_, i) => fresh(from + ((i * 7_919 + round) % count)))
    globalThis.gc?.()
    found = 0
    const begun = performance.now()
    for (const one of asked) if (held.has(one)) found++
    least = Math.min(least, performance.now() - begun)
  }
  return { perSecond: LOOKUPS / (least / 1_000), found }
}

const hits = measured(0)
if (hits.found !== LOOKUPS) throw new Error(`${LOOKUPS - hits.found} of ${LOOKUPS} were not found`)
const misses = measured(1_000_000_000)
process.stdout.write(
  JSON.stringify({
    rss_bytes: rss,
    build_ms: buildMs,
    hits_per_s: hits.perSecond,
    misses_per_s: misses.perSecond,
    found: misses.found,
  }),
)
