import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { IForbiddenRuleType, IRegularForbiddenRuleType } from 'dependency-cruiser'

/** Rooms of the controller on the way of the data; others meet them by their published types (`index.ts`) or over the bus. */
const ROOMS = ['gateway', 'ingest', 'detect', 'triage', 'enrich', 'respond', 'orders', 'predict', 'learn']
/** Package → the only places that may import it. */
const HOMES: Readonly<Record<string, string>> = {
  '^ws$|/ws/': '^(agent/src/link/|controller/src/gateway/|test/)',
  '/fastify/|^fastify$': '^controller/src/(api|access)/',
  '/chdb/|^chdb$': '^controller/src/store/telemetry/',
  '/tweetnacl/|^tweetnacl$': '^shared/src/trust/',
  'node:child_process|^child_process$':
    '^(agent/src/(platform|actions|collectors|facts|link|orders)/|agent/sensor/|agent/src/main|controller/src/cli/|installers/|test/)|\\.(test|rig)\\.ts$',
}

const forbidden = (
  name: string,
  comment: string,
  from: IRegularForbiddenRuleType['from'],
  to: IRegularForbiddenRuleType['to'],
): IForbiddenRuleType => ({ name, comment, severity: 'error', from, to })

export function importRules(root: string): IForbiddenRuleType[] {
  const rooms = ROOMS.filter((room) => existsSync(join(root, 'controller/src', room)))
  return [
    forbidden('no-circle', 'a circle has no first reader', {}, { circular: true }),
    forbidden(
      'no-crooked-names',
      'utils, common and helpers are names for nothing',
      {},
      { path: '(^|/)(utils|common|helpers)(/|\\.ts$)', pathNot: 'node_modules' },
    ),
    forbidden(
      'shared-knows-nobody',
      'both sides build on shared',
      { path: '^shared/' },
      { path: '^(agent|controller|installers|test)/' },
    ),
    forbidden(
      'agent-knows-no-controller',
      'the wire is all they have in common',
      { path: '^agent/' },
      { path: '^(controller|installers|test)/' },
    ),
    forbidden(
      'controller-knows-no-agent',
      'the wire is all they have in common',
      { path: '^controller/', pathNot: '\\.test\\.ts$' },
      { path: '^(agent|installers|test)/' },
    ),
    ...rooms.map((room) =>
      forbidden(
        `room-${room}`,
        'rooms meet through published types and the bus; controller.ts alone knows everybody',
        { path: `^controller/src/${room}/`, pathNot: '\\.test\\.ts$' },
        {
          path: `^controller/src/(${rooms.filter((other) => other !== room).join('|')})/`,
          dependencyTypesNot: ['type-only'],
        },
      ),
    ),
    forbidden(
      'nobody-imports-main',
      'main is the end of the line',
      { pathNot: '(^|/)main\\.ts$' },
      { path: '^(agent|controller)/src/main\\.ts$' },
    ),
    ...Object.entries(HOMES).map(([packagePath, home]) =>
      forbidden(
        `home-of-${packagePath.replaceAll(/[^a-z_:]/g, '')}`,
        'few files are the home of each outside door',
        { path: '^(agent|controller|shared)/', pathNot: home },
        { path: packagePath },
      ),
    ),
    ...(readdirSync(root).includes('controller')
      ? [
          forbidden(
            'prediction-orders-nothing',
            'predict and learn propose; they have no way to orders',
            { path: '^controller/src/(predict|learn)/' },
            { path: '^controller/src/orders/' },
          ),
        ]
      : []),
  ]
}
