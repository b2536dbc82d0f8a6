/**
 * How much of what attackers do is noticed: the command lines of Atomic Red Team as the events that a sensor would tell, against our
 * rules and SigmaHQ's, by ATT&CK technique. Nothing is run. What fires on an attack says nothing of false alarms.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readRuleFiles } from '@firebreak/controller/src/cli/hunt-rules.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { shellTrace } from '../data/shell-commands.ts'
import { linesOf, readArchives, SIGMA_DATA } from '../data/sigma-cases.ts'
import type { Bench } from './bench.ts'

const OURS = resolve(import.meta.dirname, '../../controller/content/rules')
const ATOMICS = join(SIGMA_DATA, 'atomic-red-team/atomics-linux.jsonl.gz')
/** Done by the shell itself: no process of their own. */
const BUILTINS = new Set(
  '. : [ alias bg break cd continue declare echo eval exit export false fg getopts hash history jobs let local printf pwd read readonly return set shift source test times trap true type typeset ulimit umask unalias unset wait'.split(
    ' ',
  ),
)

interface Atomic {
  readonly id: string
  readonly technique: string
  readonly name: string
  readonly executor: string
  readonly elevation_required: boolean
  readonly command_resolved: string | null
}

export const detectionBench: Bench = {
  name: 'detection',
  describe: 'recall by ATT&CK technique on the command lines of Atomic Red Team (Linux), our rules and SigmaHQ',
  async run({ say }) {
    if (!existsSync(ATOMICS)) {
      say('skipped: atomic-red-team is not beside the project')
      return { metrics: {}, ratios: {} }
    }
    const all = linesOf<Atomic>(gunzipSync(readFileSync(ATOMICS)).toString('utf8'))
    const atomics = all.filter((one) => /^(?:sh|bash)$/.test(one.executor) && one.command_resolved !== null)
    say(`${atomics.length} tests of ${all.length}; the others are for a person or another shell`)
    const events = atomics.map(eventsOf)
    const read = await readRuleFiles(OURS)
    if (!read.ok) throw new Error(read.why)
    const ours = parseRules(read.value).rules
    const theirs = existsSync(join(SIGMA_DATA, 'sigma-rules'))
      ? parseRules(await readArchives(join(SIGMA_DATA, 'sigma-rules'))).rules
      : []
    if (theirs.length === 0) say('skipped: the rules of SigmaHQ are not beside the project')
    const metrics: Record<string, number> = {
      tests: atomics.length,
      techniques: new Set(atomics.map(({ technique }) => technique)).size,
      events: events.reduce((sum, each) => sum + each.length, 0),
    }
    const ratios: Record<string, number> = {}
    for (const [name, rules] of [
      ['ours', ours],
      ['sigmahq', theirs],
      ['both', [...ours, ...theirs]],
    ] as const) {
      const found = recall(compilePlan(rules), atomics, events)
      Object.assign(metrics, { [`${name}_tests`]: found.tests, [`${name}_techniques`]: found.techniques.size })
      ratios[`${name}_tests_noticed`] = found.tests / atomics.length
      ratios[`${name}_tests_noticed_as_their_technique`] = found.exact / atomics.length
      ratios[`${name}_techniques_noticed`] = found.techniques.size / (metrics['techniques'] ?? 1)
      if (name === 'both')
        for (const [technique, missed] of found.missed) say(`unnoticed  ${technique}: ${missed.join('; ')}`)
    }
    return { metrics, ratios }
  },
}

function recall(plan: RulePlan, atomics: readonly Atomic[], events: readonly (readonly Event[])[]) {
  const techniques = new Set<string>()
  const missed = new Map<string, string[]>()
  let tests = 0
  let exact = 0
  for (const [index, { technique, name }] of atomics.entries()) {
    const rules = (events[index] ?? []).flatMap((event) => plan.match(event).map(({ rule }) => rule))
    if (rules.length === 0) missed.set(technique, [...(missed.get(technique) ?? []), name])
    else {
      tests++
      techniques.add(technique)
    }
    if (rules.some((rule) => speaksOf(rule, technique))) exact++
  }
  for (const technique of techniques) missed.delete(technique)
  return { tests, exact, techniques, missed }
}

/** The technique itself, one of its sub-techniques, or the one that it is a part of. */
function speaksOf({ tags }: SigmaRule, technique: string): boolean {
  const wanted = technique.toLowerCase()
  return tags.some((tag) => {
    const said = /^attack\.(t\d{4}(?:\.\d{3})?)$/i.exec(tag)?.[1]?.toLowerCase()
    return said !== undefined && (said === wanted || said.startsWith(`${wanted}.`) || wanted.startsWith(`${said}.`))
  })
}

/** The shell with the whole script, each program that it starts, and each file that it writes to by itself. */
function eventsOf({ executor, command_resolved, elevation_required }: Atomic): Event[] {
  const script = (command_resolved ?? '').trim()
  const shell = `/usr/bin/${executor}`
  const user = { name: elevation_required ? 'root' : 'alice', id: elevation_required ? '0' : '1000' }
  const parent = { executable: shell, name: executor, command_line: `${executor} -c ${script}` }
  const { commands, written } = shellTrace(script)
  const programs = commands.flatMap((words) => {
    const [first = '', ...rest] = words
    if (BUILTINS.has(first)) return []
    return first === 'sudo' && rest.length > 0 ? [words, rest] : [words]
  })
  return [
    started(shell, parent.command_line, user, { executable: '/usr/sbin/sshd', name: 'sshd' }),
    ...programs.map((words) => started(pathOf(words[0] ?? ''), words.join(' '), user, parent)),
    ...written.map((path) => ({
      ...headOf('file', 'creation', 'file-created'),
      user,
      process: { pid: 4_243, executable: shell, name: executor, command_line: parent.command_line },
      file: { path, name: basename(path) },
    })),
  ]
}

function started(
  executable: string,
  command_line: string,
  user: NonNullable<Event['user']>,
  parent: NonNullable<NonNullable<Event['process']>['parent']>,
): Event {
  const process = { pid: 4_242, executable, name: basename(executable), command_line, parent }
  return { ...headOf('process', 'start', 'process-started'), user, process }
}

function headOf(
  category: 'process' | 'file',
  type: 'start' | 'creation',
  action: string,
): Pick<Event, '@timestamp' | 'event' | 'host'> {
  return {
    '@timestamp': '2026-11-24T12:00:00.000Z',
    event: { category: [category], type: [type], action, dataset: `firebreak.${category}` },
    host: { id: 'a1', name: 'web-1', os: { type: 'linux' } },
  }
}

function pathOf(program: string): string {
  return program.includes('/') ? program : `/usr/bin/${program}`
}
