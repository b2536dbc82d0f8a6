/** `firebreak rules`: what is looked for. */
import { type Command, Option } from 'commander'
import type { RuleShown } from '../api/rules.ts'
import { addRuleCoverage } from './coverage.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList } from './output.ts'
import { rulesLintCommand } from './rules-lint.ts'
import { rulesTestCommand } from './rules-test.ts'
import { type Cli, verb } from './session.ts'

export function addRuleVerbs(cli: Cli, program: Command): void {
  const rules = program.command('rules').description('what is looked for')
  listOptions(
    verb<ListOptions & { readonly state?: string }>(
      cli,
      rules,
      'list',
      'list rules with their health',
      async ({ api, io, format }, _args, { limit, state }) => {
        const rows = await api.list<RuleShown>('/api/v1/rules', { state }, limit)
        printList(io, format, rows, {
          columns: [
            {
              head: 'STATE',
              cell: (rule) => rule.state,
              paint: (text, rule) => (rule.state === 'live' ? io.colors.green(text) : io.colors.red(text)),
            },
            { head: 'LEVEL', cell: (rule) => rule.level },
            { head: 'MATCHES', cell: (rule) => String(rule.matches) },
            { head: 'TITLE', cell: (rule) => rule.title, flexible: true },
            { head: 'FILE', cell: (rule) => rule.file, flexible: true },
            { head: 'WHY', cell: whyOf, flexible: rows.some((rule) => whyOf(rule) !== '') },
          ],
          raw: (rule) => rule.id,
          empty: 'No rules are loaded.',
        })
      },
    ),
  ).addOption(new Option('--state <state>', 'only in this state').choices(['live', 'refused']))
  addRuleCoverage(cli, rules)
  for (const offline of [rulesLintCommand(), rulesTestCommand()]) rules.addCommand(offline.copyInheritedSettings(rules))
}

/** Of a correlation also what it remembers, and what it could not count. */
function whyOf({ why, correlation }: RuleShown): string {
  if (correlation === null) return why ?? ''
  const { windows, events, evicted_windows: groups, evicted_events: forgotten, late } = correlation
  const lost = groups + forgotten + late
  const held = `correlation: ${events} events in ${windows} groups`
  return [why ?? [], lost === 0 ? held : `${held}; lost ${groups} groups, ${forgotten} events, ${late} late`]
    .flat()
    .join('; ')
}
