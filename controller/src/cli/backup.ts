/** `firebreak backup` and `firebreak restore`: both stores and the keys, out and back. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { DEFAULT_CONFIG_FILE, DEFAULT_DROP_IN_DIR } from '../config-places.ts'
import type { BackupView } from '../store/backup/index.ts'
import { CliError, type Exit } from './exit-codes.ts'
import { printOne } from './output.ts'
import { type Cli, verb } from './session.ts'

const POLL_MS = 500

interface RestoreOptions {
  readonly config?: string
  readonly stateDir?: string
  readonly force?: boolean
  readonly check?: boolean
}

export function addBackupVerbs(cli: Cli, program: Command): void {
  verb(
    cli,
    program,
    'backup [name]',
    'back up state, events and keys while the controller runs, into its folder of backups',
    async ({ api, io, format }, [name = '']): Promise<Exit> => {
      let backup = await api.post<BackupView>('/api/v1/system/backups', name === '' ? {} : { name })
      while (backup.state === 'running') {
        await cli.sleep(POLL_MS)
        backup = await api.get<BackupView>(`/api/v1/system/backups/${encodeURIComponent(backup.name)}`)
      }
      if (backup.state === 'failed')
        throw new CliError('failed', `no backup was made: ${backup.why ?? 'the controller does not say why'}`)
      printOne(io, format, backup, backup.path, () => {
        const events =
          backup.events === null
            ? 'events are on the ClickHouse server, which has its own backups'
            : `${backup.events} events`
        return `${io.colors.green('✓')} ${backup.path}\n  ${events}, ${backup.audit_records ?? 0} audit records, ${backup.files ?? 0} files, ${backup.bytes ?? 0} bytes\n  It holds the keys of this deployment: keep it as safe as the controller itself.\n  Put it back with: firebreak restore ${backup.path}`
      })
      return 'ok'
    },
  ).option('--raw', 'the same as -o raw')

  program
    .command('restore <folder>')
    .description('check a backup and put it back; the controller must be stopped')
    .option('--config <file>', `whose state_dir is restored, instead of ${DEFAULT_CONFIG_FILE}`)
    .option('--state-dir <folder>', 'restore into this folder')
    .option('--check', 'only check the backup')
    .option('--force', 'move aside what the state folder holds')
    .action(async (folder: string, options: RestoreOptions) => {
      const { checkBackup, restoreBackup } = await import('../store/backup/restore-backup.ts')
      const from = resolve(folder)
      const { io } = cli
      if (options.check === true) {
        const { made_at, telemetry, files } = await checkBackup(from)
        io.out(
          `${io.colors.green('✓')} all ${files.length} files are as they were written; made ${made_at}, ${telemetry?.events ?? 0} events\n`,
        )
      } else {
        const target = options.stateDir ?? (await configuredStateDir(cli, options.config))
        const { manifest, aside } = await restoreBackup(from, resolve(target), {
          force: options.force === true,
          now: () => cli.now(),
        })
        if (aside !== undefined) io.say(`What was there lies in ${aside}`)
        io.out(
          `${io.colors.green('✓')} ${target} is as it was at ${manifest.made_at}: ${manifest.telemetry?.events ?? 0} events, ${manifest.audit.records} audit records, each checked\n`,
        )
        io.say(
          'What hosts sent after that time is asked for again where they still have it; where not, it is counted as a gap.',
        )
      }
      cli.ended('ok')
    })
}

async function configuredStateDir(cli: Cli, file: string | undefined): Promise<string> {
  const { loadConfig } = await import('../config.ts')
  const loaded = loadConfig({
    file: file ?? DEFAULT_CONFIG_FILE,
    fileRequired: file !== undefined,
    ...(file === undefined ? { dropInDir: DEFAULT_DROP_IN_DIR } : {}),
    environment: cli.io.env,
  })
  if (!loaded.ok) throw new CliError('usage', loaded.why)
  return loaded.value.config.state_dir
}
