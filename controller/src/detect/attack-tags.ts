/** ATT&CK in Sigma's tags: `attack.t1059.004` is a technique, `attack.command-and-control` a tactic. Source: Sigma tags appendix. */
const TECHNIQUE = /^attack\.(t\d{4}(?:\.\d{3})?)$/i
const TACTIC = /^attack\.([a-z][a-z_-]{2,40})$/i

export function techniquesOf(tags: readonly string[]): string[] {
  return [...new Set(tags.flatMap((tag) => TECHNIQUE.exec(tag)?.[1]?.toUpperCase() ?? []))]
}

/** Older rules write underscores. */
export function tacticsOf(tags: readonly string[]): string[] {
  return [...new Set(tags.flatMap((tag) => TACTIC.exec(tag)?.[1]?.toLowerCase().replaceAll('_', '-') ?? []))]
}
