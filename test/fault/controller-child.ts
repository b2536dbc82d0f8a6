/** A controller in a process of its own, to be killed. Talks to its parent by IPC: `{ask, ...}` in, `{answer}` or `{failed}` out. */
import { testConfig } from '@firebreak/controller/src/controller.rig.ts'
import { createController } from '@firebreak/controller/src/controller.ts'
import { createLogger } from '@firebreak/controller/src/log.ts'

const [stateDir = '', flags = '{}'] = process.argv.slice(2)
// Loading the modules is most of a start: a child can do it beforehand and wait for the word.
process.on('disconnect', () => process.exit(1))
process.send?.({ id: -1 })
await new Promise<void>((resolve) => process.once('message', () => resolve()))

const controller = await createController(testConfig(stateDir, JSON.parse(flags) as Record<string, unknown>), {
  logger: createLogger(process.env['FIREBREAK_TEST_LOG'] ?? 'fatal'),
})
const started = await controller.start()

process.on('message', (message: { readonly id: number; readonly ask: string }) => {
  answer(message.ask).then(
    (value) => process.send?.({ id: message.id, answer: value }),
    (thrown: unknown) => process.send?.({ id: message.id, failed: String(thrown) }),
  )
})
process.send?.({ id: 0, answer: { gatewayPort: started.gatewayPort, apiUrl: started.apiUrl } })

/** Put before every block of the telemetry store, ms. */
let delayMs = 0
const insert = controller.telemetry.insert.bind(controller.telemetry)
controller.telemetry.insert = async (token, events) => {
  if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs))
  await insert(token, events)
}

async function answer(ask: string): Promise<unknown> {
  switch (ask) {
    case 'slow-store':
      delayMs = 1_500
      return delayMs
    case 'fast-store':
      delayMs = 0
      return delayMs
    case 'ready':
      return controller.readiness.check()
    case 'metrics':
      return controller.metrics.metrics()
    case 'join':
      return (await controller.joinTokens.create({ group: 'g', lifeS: 600, maxUses: 1_000 }, 'user:test')).joinString
    case 'join-once':
      return (await controller.joinTokens.create({ group: 'g', lifeS: 600, maxUses: 1 }, 'user:test')).joinString
    case 'streams':
      return controller.state.db.selectFrom('streams').selectAll().execute()
    case 'waiting':
      return controller.state.db.selectFrom('ingest_batches').select(['id', 'detected', 'stored']).execute()
    case 'signals':
      return controller.state.db.selectFrom('signals').select(['rule_id', 'event_id']).execute()
    case 'stored-events':
      return await controller.telemetry.count()
    case 'fleet':
      return controller.state.db.selectFrom('hosts').select(['hostname', 'imported_at']).execute()
    case 'incidents':
      return controller.state.db.selectFrom('incidents').select(['id', 'route', 'hosts', 'escalated_why']).execute()
    case 'commands':
      return controller.state.db.selectFrom('commands').select('id').execute()
    case 'audit':
      return controller.audit.verify()
    case 'backup':
      return controller.backups.start('picture', 'user:test')
    case 'backup-made':
      return controller.backups.get('picture')
    case 'gaps':
      return controller.state.db.selectFrom('gaps').selectAll().execute()
    case 'windows':
      return controller.state.db.selectFrom('coverage_windows').selectAll().execute()
    case 'differences':
      return controller.state.db.selectFrom('accounting_differences').selectAll().execute()
    case 'memory':
      globalThis.gc?.()
      return process.memoryUsage()
    case 'stop':
      await controller.stop()
      setImmediate(() => process.exit(0))
      return 'stopped'
    default:
      throw new Error(`nobody knows ${ask}`)
  }
}
