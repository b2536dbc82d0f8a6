import { describe, expect, it } from 'vitest'
import { admits, createRecogniser } from './log-source.ts'
import { countMatches } from './sigma.fixture.ts'

const recogniser = createRecogniser()
const wanted = (text: string) => {
  const [product = '', category = '', service = ''] = text.split('/')
  return { product: product || null, category: category || null, service: service || null }
}
const fits = (event: Record<string, unknown>, source: string) => admits(recogniser.sourceOf(event), wanted(source))

const sysmon = (id: number | string, more: Record<string, unknown> = {}) => ({
  Channel: 'Microsoft-Windows-Sysmon/Operational',
  Provider_Name: 'Microsoft-Windows-Sysmon',
  EventID: id,
  ...more,
})
const ecs = (category: string, type: string, more: Record<string, unknown> = {}) => ({
  event: { category: [category], type: [type] },
  ...more,
})

describe('log sources', () => {
  it.each([
    [sysmon(1), 'windows/process_creation', true],
    [sysmon('1'), 'windows/process_creation', true],
    [sysmon(1), 'windows//sysmon', true],
    [sysmon(1), 'windows', true],
    [sysmon(1), '', true],
    [sysmon(1), 'linux/process_creation', false],
    [sysmon(1), 'windows/file_event', false],
    [sysmon(1), 'windows//security', false],
    [sysmon(1), '/test', false],
    [sysmon(11), 'windows/file_event', true],
    [sysmon(13), 'windows/registry_set', true],
    [sysmon(13), 'windows/registry_event', true],
    [sysmon(12, { EventType: 'CreateKey' }), 'windows/registry_add', true],
    [sysmon(12, { EventType: 'CreateKey' }), 'windows/registry_delete', false],
    [sysmon(12, { EventType: 'DeleteValue' }), 'windows/registry_delete', true],
    [sysmon(12, { EventType: 'INFO' }), 'windows/registry_delete', true],
    [sysmon(17), 'windows/pipe_created', true],
    [sysmon(22), 'windows/dns_query', true],
    [{ Channel: 'security', EventID: 4688 }, 'windows/process_creation', true],
    [{ Channel: 'Security', EventID: 4624 }, 'windows/process_creation', false],
    [{ Channel: 'Security', EventID: 4624 }, 'windows//security', true],
    [{ Channel: 'Some-Unknown/Channel', EventID: 1 }, 'windows', true],
    [{ Channel: 'Some-Unknown/Channel', EventID: 1 }, 'windows/process_creation', false],
    [{ EventID: 1, SourceName: 'Microsoft-Windows-Sysmon' }, 'windows/process_creation', true],
    [{ EventID: 7045, Provider_Name: 'Service Control Manager' }, 'windows//system', true],
    [{ EventID: 4104, Channel: 'PowerShellCore/Operational' }, 'windows/ps_script', true],
    [{ EventID: 400, Channel: 'Windows PowerShell' }, 'windows/ps_classic_start', true],
    [{ EventID: 4688 }, 'windows/process_creation', true],
    [{ EventID: 4688 }, 'linux/process_creation', false],
    [{ Channel: 'Linux-Sysmon/Operational', EventID: 1 }, 'linux/process_creation', true],
    [{ Channel: 'Linux-Sysmon/Operational', EventID: 1 }, 'windows/process_creation', false],
    [ecs('process', 'start'), 'linux/process_creation', true],
    [ecs('process', 'end'), 'linux/process_creation', false],
    [ecs('process', 'end'), 'linux/process_termination', true],
    [ecs('process', 'start', { host: { os: { type: 'windows' } } }), 'windows/process_creation', true],
    [ecs('process', 'info'), 'linux/process_creation', false],
    [ecs('file', 'creation'), 'linux/file_event', true],
    [ecs('file', 'change'), 'linux/file_event', true],
    [ecs('file', 'deletion'), 'linux/file_event', false],
    [ecs('file', 'deletion'), 'linux/file_delete', true],
    [ecs('network', 'connection'), 'linux/network_connection', true],
    [ecs('authentication', 'start', { process: { name: 'sshd' } }), 'linux//sshd', true],
    [ecs('authentication', 'start', { process: { name: 'sudo' } }), 'linux//auth', true],
    [ecs('authentication', 'start', { process: { name: 'sudo' } }), 'linux//sshd', false],
    [
      { event: { dataset: 'firebreak.containment', category: ['intrusion_detection'] } },
      'firebreak//containment',
      true,
    ],
    [{ event: { dataset: 'firebreak.containment', category: ['intrusion_detection'] } }, 'linux', false],
    [
      ecs('authentication', 'start', { event: { dataset: 'firebreak.authentication', category: ['authentication'] } }),
      'linux//auth',
      true,
    ],
    [
      { event: { dataset: 'firebreak.network', category: ['network'], type: ['connection'] } },
      'windows/network_connection',
      false,
    ],
    // A system that is not named: by its paths and names, else any.
    [ecs('process', 'start', { process: { name: 'powershell.exe' } }), 'windows/process_creation', true],
    [ecs('process', 'start', { process: { name: 'powershell.exe' } }), 'linux/process_creation', false],
    [ecs('process', 'start', { process: { command_line: 'whoami' } }), 'windows/process_creation', true],
    [ecs('process', 'start', { process: { command_line: 'whoami' } }), 'linux/process_creation', true],
    [ecs('process', 'start', { process: { executable: '/usr/bin/id' } }), 'windows/process_creation', false],
    [ecs('process', 'start', { host: { os: { platform: 'darwin' } } }), 'macos/process_creation', true],
    [ecs('registry', 'change'), 'windows/registry_set', true],
    [{ event: { dataset: 'aws.cloudtrail', category: ['iam'] } }, 'aws//cloudtrail', true],
    [{ event: { dataset: 'aws.cloudtrail', category: ['iam'] } }, 'linux', false],
    [{ event: { dataset: 'system.auth', category: ['authentication'] } }, 'linux//auth', true],
    [{ Image: '/usr/bin/id', CommandLine: 'id' }, 'linux/process_creation', true],
    [{ Image: '/usr/bin/id', CommandLine: 'id' }, 'windows/process_creation', false],
    [{ Image: String.raw`C:\a.exe`, CommandLine: 'a' }, 'linux/process_creation', false],
    [{ CommandLine: 'a' }, 'windows/process_creation', true],
    [{ CommandLine: 'a' }, 'windows/file_event', false],
    [{ CommandLine: 'a' }, '/test', true],
    [{ eventName: 'StopLogging' }, 'aws//cloudtrail', true],
    [{ type: 'EXECVE', a0: 'id' }, 'linux//auditd', true],
    [{ type: 'EXECVE', a0: 'id' }, 'windows//security', false],
  ])('%j for %s: %s', (event, source, expected) => {
    expect(fits(event, source)).toBe(expected)
  })

  it('do not grow without end when every event names another channel', () => {
    const own = createRecogniser()
    const sources = new Set(
      Array.from({ length: 20_000 }, (_, index) => own.sourceOf({ Channel: `c${index}`, EventID: index })),
    )
    expect(sources.size).toBeLessThan(10)
    const datasets = new Set(
      Array.from({ length: 20_000 }, (_, index) => own.sourceOf({ event: { dataset: `x.y${index}` } })),
    )
    expect(datasets.size).toBeLessThan(2_000)
  })
})

describe('fields', () => {
  const rule = (selection: string) =>
    `title: x\nlogsource:\n  category: process_creation\ndetection:\n  s:\n    ${selection}\n  condition: s\n`

  it('of ECS are found under the names of the Sigma taxonomy', () => {
    const event = ecs('process', 'start', {
      process: {
        pid: 7,
        executable: '/usr/bin/curl',
        args: ['curl', '-s', 'x'],
        working_directory: '/root',
        hash: { sha256: 'ab' },
        parent: { executable: '/usr/bin/bash', command_line: 'bash -l' },
      },
      user: { name: 'root' },
    })
    for (const selection of [
      'Image|endswith: /curl',
      'CommandLine: curl -s x',
      'ParentImage: /usr/bin/bash',
      'ParentCommandLine: bash -l',
      'CurrentDirectory: /root',
      'ProcessId: 7',
      'User: root',
      'Hashes|contains: SHA256=AB',
      'sha256: ab',
      'process.executable: /usr/bin/curl',
    ]) {
      expect(countMatches(rule(selection), event), selection).toBe(1)
    }
  })

  it('of process creation in the security log are found under the names of Sysmon', () => {
    const event = {
      Channel: 'Security',
      EventID: 4688,
      NewProcessName: String.raw`C:\Windows\cmd.exe`,
      ParentProcessName: String.raw`C:\a.exe`,
      SubjectDomainName: 'D',
      SubjectUserName: 'u',
      MandatoryLabel: 'S-1-16-12288',
    }
    for (const selection of [
      String.raw`Image|endswith: \cmd.exe`,
      String.raw`ParentImage: C:\a.exe`,
      String.raw`User: D\u`,
      'IntegrityLevel: High',
    ]) {
      expect(countMatches(rule(selection), event), selection).toBe(1)
    }
  })

  it('of nested records are found in data, user data, header and attributes', () => {
    const event = {
      Event: {
        System: {
          Provider: { '#attributes': { Name: 'Microsoft-Windows-Sysmon' } },
          EventID: { '#text': 1, '#attributes': { Qualifiers: 0 } },
          Channel: 'Microsoft-Windows-Sysmon/Operational',
          Computer: 'pc',
        },
        EventData: { Image: 'x', Hashes: 'MD5=AA,IMPHASH=BB' },
      },
    }
    for (const selection of [
      'Image: x',
      'EventID: 1',
      'Provider_Name: Microsoft-Windows-Sysmon',
      'Computer: pc',
      'Imphash: bb',
    ]) {
      expect(countMatches(rule(selection), event), selection).toBe(1)
    }
  })

  it('of winlogbeat are found under winlog', () => {
    const event = {
      winlog: { channel: 'Microsoft-Windows-Sysmon/Operational', event_id: '1', event_data: { Image: 'x' } },
    }
    expect(countMatches(rule('Image: x'), event)).toBe(1)
    expect(countMatches(rule('EventID: 1'), event)).toBe(1)
  })

  const created = { NewProcessName: String.raw`C:\x.exe`, SubjectUserName: 'eve', CommandLine: 'x /q' }
  it.each([
    ['winlogbeat', { winlog: { channel: 'Security', event_id: 4688, event_data: created } }],
    [
      'winlogbeat 6',
      { log_name: 'Security', event_id: 4688, source_name: 'Microsoft-Windows-Security-Auditing', event_data: created },
    ],
  ])('of process creation in the security log, as %s ships it, are found under the names of Sysmon', (_by, event) => {
    for (const selection of [
      String.raw`Image|endswith: '\x.exe'`,
      'User: eve',
      'CommandLine: x /q',
      'Channel: Security',
    ])
      expect(countMatches(rule(selection), event), selection).toBe(1)
    expect(fits(event, 'windows/process_creation')).toBe(true)
    expect(fits(event, 'windows//sysmon')).toBe(false)
  })
})

describe('an event of ECS', () => {
  const told = (one: Partial<Record<string, unknown>>, more: Record<string, unknown>) => ({
    event: { category: ['process'], type: ['start'], action: 'a', dataset: 'firebreak.process', ...one },
    host: { os: { type: 'linux' } },
    process: { name: 'sudo', executable: '/usr/bin/sudo' },
    ...more,
  })
  const kinds = [
    {},
    { category: ['file'], type: ['change'] },
    { category: ['file'], type: ['change'], action: 'file-renamed' },
    { category: ['file'], type: ['deletion', 'access', 'creation'] },
    { category: ['network'], type: ['connection', 'start'] },
    { category: ['network'], type: ['allowed'] },
    { category: ['registry'], type: ['creation'] },
    { category: ['library', 'driver'], type: ['end'] },
    { category: ['session'], provider: 'sshd' },
    { category: ['session'], provider: 'cron' },
    { category: ['process', 'authentication'] },
    { category: 'process', type: 'end' },
    { dataset: undefined },
    { dataset: 'windows.sysmon' },
    { dataset: 7 },
  ]
  const others = [
    {},
    { host: { os: { type: 'windows' } } },
    { host: { os: { type: 'darwin' } } },
    { host: { os: { type: 'macos' } } },
    { host: { os: { type: 'plan9' } } },
    { host: { name: 'h' } },
    { network: { protocol: 'dns' } },
    { network: [{ protocol: 'dns' }] },
    { 'network.protocol': 'dns' },
    { 'event.category': ['file'] },
    { 'event.type': ['deletion'] },
    { 'event.action': 'rename' },
    { 'event.dataset': 'x.y' },
    { 'host.os.type': 'windows' },
    { auditd: {} },
    { firebreak: { record: {} } },
  ]
  const events = kinds.flatMap((kind) => others.map((other) => told(kind, other)))

  it('is placed by what it says itself, whatever came before it', () => {
    const used = createRecogniser()
    for (const event of [...events, ...events.toReversed(), ...events])
      expect(used.sourceOf(event), JSON.stringify(event)).toEqual(createRecogniser().sourceOf(event))
  })
})

describe('events that are none', () => {
  it.each([null, 1, 'text', [], [{ a: 1 }], undefined])('%j matches nothing and breaks nothing', (event) => {
    expect(countMatches('detection:\n  s:\n    A: null\n  condition: s\n', event)).toBe(0)
  })
})
