/** `firebreak hosts inventory`: what is installed, who may log in, which ports are open. */
import { INVENTORY_KINDS, type InventoryKind, isInventoryKind } from '@firebreak/shared/events/inventory.ts'
import type { Command } from 'commander'
import type { InventoryItemShown, InventoryKindShown } from '../api/inventory.ts'
import { ageText } from './durations.ts'
import { CliError } from './exit-codes.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { type Column, printList } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, verb } from './session.ts'
import { fitText } from './terminal-text.ts'

type ItemColumn = Column<InventoryItemShown>

export function addInventoryVerb(cli: Cli, hosts: Command): void {
  listOptions(
    verb<ListOptions & { readonly text?: string }>(
      cli,
      hosts,
      'inventory <host> [kind]',
      `what a host has: ${INVENTORY_KINDS.join(', ')}`,
      async ({ api, io, format }, [host = '', kind = ''], { limit, text }) => {
        const { agent_id: agentId, hostname } = await resolveHost(api, host)
        if (kind === '') {
          const { kinds } = await api.get<{ kinds: InventoryKindShown[] }>(`/api/v1/hosts/${agentId}/inventory`)
          printList(io, format, kinds, {
            columns: [
              { head: 'KIND', cell: (one) => one.kind },
              { head: 'ITEMS', cell: (one) => String(one.items) },
              { head: 'TOLD', cell: (one) => ageText(one.told_at, cli.now()) },
              { head: 'WHOLE', cell: (one) => (one.is_whole ? 'yes' : 'no') },
              { head: 'WHY', cell: (one) => one.why ?? '', flexible: true },
            ],
            raw: (one) => one.kind,
            empty: `Nothing was told of ${fitText(hostname, 64)} yet.`,
          })
          return
        }
        if (!isInventoryKind(kind))
          throw new CliError('usage', `${fitText(kind, 40)} is no kind: ${INVENTORY_KINDS.join(', ')}`)
        const rows = await api.list<InventoryItemShown>(`/api/v1/hosts/${agentId}/inventory/${kind}`, { text }, limit)
        printList(io, format, rows, {
          columns: [
            ...columnsOf(kind),
            { head: 'CHANGED', cell: (one) => ageText(one.changed_at, cli.now()), optional: true },
          ],
          raw: (one) => one.label,
          empty: text === undefined ? `No ${kind} are known.` : `No ${kind} with that in their line.`,
        })
      },
    ),
  ).option('--text <text>', 'only what has this in its line')
}

function columnsOf(kind: InventoryKind): ItemColumn[] {
  switch (kind) {
    case 'packages':
      return [flexible('NAME', 'name'), flexible('VERSION', 'version'), fact('TYPE', 'type'), place('PATH', 'path')]
    case 'ports':
      return [
        fact('PROTO', 'transport'),
        flexible('ADDRESS', 'ip'),
        fact('PORT', 'port'),
        flexible('PROCESS', 'process'),
        fact('PID', 'pid'),
        fact('USER', 'user'),
      ]
    case 'users':
      return [
        flexible('NAME', 'name'),
        fact('UID', 'uid'),
        fact('PASSWORD', 'password'),
        flexible('SHELL', 'shell'),
        place('HOME', 'home'),
      ]
    case 'groups':
      return [flexible('NAME', 'name'), fact('GID', 'gid'), flexible('MEMBERS', 'members')]
    case 'sudoers':
      return [
        flexible('WHO', 'users'),
        flexible('AS', 'run_as'),
        flexible('COMMANDS', 'commands'),
        fact('NOPASSWD', 'no_password'),
        place('FILE', 'file'),
      ]
    case 'ssh-keys':
      return [
        fact('USE', 'use'),
        flexible('USER', 'user'),
        fact('TYPE', 'type'),
        fact('FINGERPRINT', 'fingerprint'),
        place('FILE', 'file'),
      ]
    case 'cron-jobs':
      return [
        flexible('WHEN', 'schedule'),
        flexible('USER', 'user'),
        flexible('COMMAND', 'command'),
        place('FILE', 'file'),
      ]
    case 'units':
      return [
        flexible('UNIT', 'name'),
        fact('ENABLED', 'enabled'),
        fact('ACTIVE', 'active'),
        flexible('STARTS', 'exec_start'),
      ]
    case 'modules':
      return [flexible('MODULE', 'name'), fact('BYTES', 'size_bytes'), fact('TAINTS', 'taints')]
    case 'mounts':
      return [
        flexible('TARGET', 'target'),
        fact('TYPE', 'type'),
        flexible('SOURCE', 'source'),
        flexible('OPTIONS', 'options'),
      ]
    case 'containers':
      return [
        flexible('NAME', 'name'),
        flexible('IMAGE', 'image'),
        fact('RUNTIME', 'runtime'),
        fact('RUNNING', 'running'),
        fact('PRIVILEGED', 'privileged'),
      ]
    case 'host':
      return [
        flexible('HOST', 'hostname'),
        flexible('SYSTEM', 'os_name'),
        fact('VERSION', 'os_version'),
        flexible('KERNEL', 'kernel'),
      ]
    default:
      throw new Error(`unhandled kind ${String(kind satisfies never)}`)
  }
}

function fact(head: string, name: string): ItemColumn {
  return { head, cell: ({ facts }) => textOf(facts[name]) }
}
function flexible(head: string, name: string): ItemColumn {
  return { ...fact(head, name), flexible: true }
}
function place(head: string, name: string): ItemColumn {
  return { ...flexible(head, name), optional: true }
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(', ') || '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '-'
}
