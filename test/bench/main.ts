/** `pnpm bench NAME [--json] [--short]`, `pnpm bench --list`: the one door to every benchmark. */
import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { benches } from './benches.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean' }, list: { type: 'boolean' }, short: { type: 'boolean' } },
})

if (values.list) {
  for (const bench of benches) console.log(`${bench.name.padEnd(14)} ${bench.describe}`)
  process.exit(0)
}
const bench = benches.find(({ name }) => name === positionals[0])
if (!bench) {
  console.error(`usage: pnpm bench NAME [--json] [--short]\nNAME: ${benches.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const { metrics, ratios } = await bench.run({ short: values.short ?? false, say: (line) => console.error(line) })
const result = {
  name: bench.name,
  metrics: rounded(metrics),
  ratios: rounded(ratios),
  machine: machine(),
  commit: commit(),
}
if (!values.json)
  for (const [name, value] of Object.entries({ ...result.metrics, ...result.ratios }))
    console.error(`${name.padEnd(48)} ${value}`)
console.log(JSON.stringify(result))
process.exit(0)

function rounded(numbers: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(numbers).map(([name, value]) => [
      name,
      Number.isInteger(value) ? value : Number(value.toPrecision(5)),
    ]),
  )
}

function machine(): string {
  return `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.versions.node}`
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'none'
  }
}
