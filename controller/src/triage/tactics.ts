/** MITRE ATT&CK Enterprise tactics in the order of the matrix, as Sigma tags write them. */
export const TACTICS = [
  'reconnaissance',
  'resource-development',
  'initial-access',
  'execution',
  'persistence',
  'privilege-escalation',
  'defense-evasion',
  'credential-access',
  'discovery',
  'lateral-movement',
  'collection',
  'command-and-control',
  'exfiltration',
  'impact',
] as const
const ORDER: ReadonlyMap<string, number> = new Map(TACTICS.map((tactic, index) => [tactic, index]))

export function isTactic(text: string): boolean {
  return ORDER.has(text)
}

export interface TacticStep {
  readonly at: string
  readonly tactics: readonly string[]
}

/**
 * The longest way forward through the matrix that the steps allow, each step giving at most one of its tactics (a rule that is tagged
 * with three tactics is not three stages). `steps` in any order.
 */
export function tacticChain(steps: readonly TacticStep[]): readonly string[] {
  const ordered = [...steps].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  // best[i]: the longest chain that ends in tactic i.
  const best: (readonly string[])[] = TACTICS.map(() => [])
  for (const step of ordered) {
    const found = step.tactics.flatMap((tactic) => {
      const index = ORDER.get(tactic)
      if (index === undefined) return []
      const before = longest(best.slice(0, index))
      return [{ index, chain: [...before, tactic] }]
    })
    for (const { index, chain } of found) {
      if (chain.length > (best[index]?.length ?? 0)) best[index] = chain
    }
  }
  return longest(best)
}

function longest(chains: readonly (readonly string[])[]): readonly string[] {
  return chains.reduce((most, chain) => (chain.length > most.length ? chain : most), [])
}
