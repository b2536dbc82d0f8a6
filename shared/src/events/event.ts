/**
 * What a host tells: Elastic Common Schema 9 field names, one declaration for the type, the validation and the reference
 * (`README.md` of this folder is generated from it). Times are ISO 8601 UTC; sizes are bytes; durations say their unit.
 * Source: Elastic Common Schema reference 9.x, field sets base, event, process, file, source, destination, network, user, host.
 */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Inventory } from './inventory.ts'
import { closed, count, FIELD_LIMITS, keyword, maybe, text } from './field-kinds.ts'
import { Auditd, Imported, Pe, Recorded, Registry, Winlog } from './recorded-fields.ts'

export { FIELD_LIMITS } from './field-kinds.ts'

const pid = (description: string) => Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description })
const port = (description: string) => Type.Integer({ minimum: 0, maximum: 65_535, description })
const time = (description: string) =>
  Type.String({ maxLength: 40, pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$`, description })

const Hash = closed(
  {
    sha256: maybe(Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the file, hexadecimal.' })),
    sha1: maybe(Type.String({ pattern: '^[0-9a-f]{40}$', description: 'SHA-1 of the file, hexadecimal.' })),
    md5: maybe(Type.String({ pattern: '^[0-9a-f]{32}$', description: 'MD5 of the file, hexadecimal.' })),
  },
  'Digests of a file.',
)
const User = closed(
  {
    id: maybe(keyword('Numeric user id, as text.')),
    name: maybe(keyword('Account name.')),
    domain: maybe(keyword('Domain of the account.')),
    target: maybe(
      closed(
        {
          id: maybe(keyword('User id.')),
          name: maybe(keyword('Account name.')),
          domain: maybe(keyword('Domain of the account.')),
        },
        'Account that it was done to.',
      ),
    ),
    effective: maybe(
      closed(
        { id: maybe(keyword('Effective user id.')), name: maybe(keyword('Effective account name.')) },
        'Account in whose rights it ran, where it differs.',
      ),
    ),
    audit: maybe(
      closed(
        { id: maybe(keyword('Login user id.')), name: maybe(keyword('Login account name.')) },
        'Account that logged in at first; su and sudo do not change it (as Auditbeat says it).',
      ),
    ),
    changes: maybe(
      closed(
        { id: maybe(keyword('User id after the change.')), name: maybe(keyword('Account name after the change.')) },
        'What the account became.',
      ),
    ),
  },
  'The account behind the event.',
)
const processFields = {
  pid: maybe(pid('Process id as the agent sees it.')),
  entity_id: maybe(
    keyword('Stays the same for one process and is never used again: made of boot id, pid and start time.'),
  ),
  name: maybe(keyword('Name of the executable, without its folder.')),
  executable: maybe(keyword('Absolute path of the executable.')),
  command_line: maybe(text('The whole command line, arguments joined by a space.')),
  args: maybe(
    Type.Array(text('One argument.'), { maxItems: FIELD_LIMITS.list, description: 'The arguments, program first.' }),
  ),
  args_count: maybe(count('How many arguments there were, also when `args` was cut.')),
  working_directory: maybe(keyword('Working directory at the start.')),
  start: maybe(time('When the process started.')),
  user: maybe(User),
  hash: maybe(Hash),
  pe: maybe(Pe),
}
const OtherProcess = closed(processFields, 'Another process.')
const Process = closed(
  {
    ...processFields,
    end: maybe(time('When the process ended.')),
    exit_code: maybe(Type.Integer({ description: 'Exit status; 128 + n for death by signal n.' })),
    tty: maybe(keyword('Controlling terminal, such as /dev/pts/0.')),
    session_leader: maybe(
      closed({ pid: pid('Process id of the leader of its session.') }, 'The leader of its session, setsid(2).'),
    ),
    thread: maybe(
      closed(
        {
          capabilities: closed(
            {
              effective: maybe(
                Type.Array(keyword('One capability, such as CAP_NET_ADMIN.'), {
                  maxItems: 64,
                  description: 'Capabilities in effect, capabilities(7).',
                }),
              ),
            },
            'Capabilities.',
          ),
        },
        'The thread that did it.',
      ),
    ),
    parent: maybe(closed(processFields, 'The process that started it.')),
    ancestors: maybe(
      Type.Array(
        closed(
          {
            pid: pid('Process id.'),
            entity_id: keyword('Entity id.'),
            name: keyword('Name.'),
            executable: maybe(keyword('Path of the executable.')),
          },
          'One ancestor.',
        ),
        { maxItems: 16, description: 'The chain of parents above `parent`, nearest first (not in ECS).' },
      ),
    ),
  },
  'The process that did it.',
)
const File = closed(
  {
    path: keyword('Absolute path.'),
    name: maybe(keyword('Name without its folder.')),
    directory: maybe(keyword('Folder.')),
    extension: maybe(keyword('Extension without the dot.')),
    type: maybe(Type.Enum(['file', 'dir', 'symlink', 'other'], { description: 'What it is.' })),
    size: maybe(count('Bytes.')),
    mode: maybe(Type.String({ pattern: '^[0-7]{3,5}$', description: 'Permission bits, octal.' })),
    uid: maybe(keyword('Owner id.')),
    gid: maybe(keyword('Group id.')),
    inode: maybe(keyword('Inode number.')),
    device: maybe(keyword('Device it lies on, as major:minor.')),
    target_path: maybe(keyword('Where a link points to.')),
    mtime: maybe(time('Last change of the content.')),
    hash: maybe(Hash),
    previous: maybe(
      closed(
        {
          path: maybe(keyword('Path before a rename.')),
          mode: maybe(Type.String({ pattern: '^[0-7]{3,5}$', description: 'Permission bits before.' })),
        },
        'What changed, as it was (not in ECS).',
      ),
    ),
  },
  'The file it happened to.',
)
const Endpoint = (description: string) =>
  closed(
    {
      ip: maybe(Type.String({ maxLength: 64, description: 'IPv4 or IPv6 address.' })),
      port: maybe(port('Port.')),
      domain: maybe(keyword('Name, where known.')),
      bytes: maybe(count('Bytes sent by this side.')),
    },
    description,
  )
const Dns = closed(
  {
    id: maybe(keyword('Number of the query in its packet.')),
    type: maybe(Type.Enum(['query', 'answer'], { description: 'Which of both it is.' })),
    question: maybe(
      closed(
        {
          name: maybe(keyword('The name that was asked for.')),
          type: maybe(keyword('Record type: A, AAAA, TXT, ...')),
          class: maybe(keyword('Record class, as a rule IN.')),
        },
        'What was asked.',
      ),
    ),
    answers: maybe(
      Type.Array(
        closed(
          {
            name: maybe(keyword('The name of the record.')),
            type: maybe(keyword('Record type.')),
            class: maybe(keyword('Record class.')),
            data: maybe(keyword('Value of the record.')),
            ttl: maybe(count('Seconds for which it may be remembered.')),
          },
          'One record of the answer.',
        ),
        { maxItems: 64, description: 'The records of the answer.' },
      ),
    ),
    resolved_ip: maybe(
      Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64, description: 'All addresses in the answer.' }),
    ),
    response_code: maybe(keyword('NOERROR, NXDOMAIN, ...')),
  },
  'A question for a name, or its answer.',
)
const Namespace = (what: string) => maybe(keyword(`Inode number of the ${what} namespace.`))
const Namespaces = closed(
  {
    pid: Namespace('process id'),
    mnt: Namespace('mount'),
    net: Namespace('network'),
    user: Namespace('user'),
    uts: Namespace('host name'),
    ipc: Namespace('interprocess communication'),
    cgroup: Namespace('control group'),
  },
  'Namespaces, namespaces(7).',
)
export const PACKAGE_STATUSES = ['intact', 'modified', 'unowned', 'unknown'] as const
const Executable = closed(
  {
    inode: maybe(keyword('Inode number.')),
    device: maybe(keyword('Device, as major:minor.')),
    mtime: maybe(time('Last change of the content.')),
    ctime: maybe(time('Last change of the content or of owner, mode, name.')),
    size: maybe(count('Bytes.')),
    mode: maybe(Type.String({ pattern: '^[0-7]{3,5}$', description: 'Permission bits, octal.' })),
    deleted: maybe(Type.Boolean({ description: 'Its file was deleted when it was started.' })),
    memfd: maybe(Type.Boolean({ description: 'It lies in memory only, memfd_create(2).' })),
    package: maybe(
      closed(
        {
          name: maybe(keyword('Package that owns the file.')),
          version: maybe(keyword('Version of the package.')),
          type: maybe(keyword('deb or rpm.')),
          status: Type.Enum([...PACKAGE_STATUSES], {
            description:
              'intact: as the package shipped it; modified: not so; unowned: of no package; unknown: it could not be told.',
          }),
        },
        'The package of the executable.',
      ),
    ),
  },
  'The file that a process runs.',
)
const Package = closed(
  {
    name: keyword('Package name.'),
    version: keyword('Version.'),
    type: maybe(keyword('deb, rpm, apk, npm, pypi.')),
    architecture: maybe(keyword('Architecture.')),
  },
  'A software package.',
)

export const EVENT_CATEGORIES = [
  'process',
  'file',
  'network',
  'authentication',
  'session',
  'iam',
  'host',
  'package',
  'configuration',
  'driver',
  'intrusion_detection',
  'registry',
  'library',
  'malware',
  'api',
  'database',
  'web',
  'threat',
] as const
export const EVENT_TYPES = [
  'start',
  'end',
  'creation',
  'change',
  'deletion',
  'access',
  'connection',
  'protocol',
  'allowed',
  'denied',
  'info',
  'error',
  'installation',
  'user',
  'group',
  'admin',
] as const

export const Event = closed(
  {
    '@timestamp': time('When it happened on the host, by its clock.'),
    event: closed(
      {
        kind: maybe(
          Type.Enum(['event', 'alert', 'state', 'metric'], {
            description: 'event when left out; alert: the agent itself raises it; state: inventory.',
          }),
        ),
        category: Type.Array(Type.Enum([...EVENT_CATEGORIES]), {
          minItems: 1,
          maxItems: 4,
          description: 'What it concerns.',
        }),
        type: Type.Array(Type.Enum([...EVENT_TYPES]), {
          minItems: 1,
          maxItems: 4,
          description: 'What happened to it.',
        }),
        action: keyword('The action in the words of the source, such as process-started.'),
        dataset: maybe(keyword('Which stream of the agent: firebreak.process, firebreak.file, ...')),
        provider: maybe(keyword('Which collector saw it: kernel, procfs, chokidar, utmp, ...')),
        outcome: maybe(Type.Enum(['success', 'failure', 'unknown'], { description: 'How it ended.' })),
        duration_ms: maybe(
          Type.Number({ minimum: 0, description: 'How long it took, ms (ECS event.duration is ns).' }),
        ),
        reason: maybe(text('Why, in words.')),
        code: maybe(keyword('Number or name that the source gives this kind of event, such as 4688.')),
        id: maybe(keyword('Set by the controller: agent, epoch, class and sequence number.')),
        ingested: maybe(time('Set by the controller: when it was taken in.')),
      },
      'What kind of fact this is.',
    ),
    host: maybe(
      closed(
        {
          id: maybe(keyword('Agent id; set by the controller from the connection, never believed from a message.')),
          name: maybe(keyword('Host name.')),
          hostname: maybe(keyword('As `hostname` says.')),
          ip: maybe(Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64, description: 'Addresses.' })),
          os: maybe(
            closed(
              {
                type: maybe(keyword('linux, windows, macos.')),
                name: maybe(keyword('Distribution.')),
                version: maybe(keyword('Version.')),
                kernel: maybe(keyword('Kernel release.')),
              },
              'Operating system.',
            ),
          ),
          uptime: maybe(count('Seconds since boot.')),
          boot: maybe(closed({ id: keyword('Boot id of the kernel.') }, 'The running boot.')),
          architecture: maybe(keyword('Architecture.')),
        },
        'The host it happened on.',
      ),
    ),
    process: maybe(Process),
    user: maybe(User),
    file: maybe(File),
    source: maybe(Endpoint('Where the traffic or the login came from.')),
    destination: maybe(Endpoint('Where the traffic went.')),
    network: maybe(
      closed(
        {
          transport: maybe(
            Type.Enum(['tcp', 'udp', 'icmp', 'ipv6-icmp', 'sctp', 'unknown'], { description: 'Transport.' }),
          ),
          type: maybe(Type.Enum(['ipv4', 'ipv6'], { description: 'Network layer.' })),
          direction: maybe(
            Type.Enum(['ingress', 'egress', 'internal', 'external', 'unknown'], { description: 'Seen from the host.' }),
          ),
          protocol: maybe(keyword('Application protocol.')),
          bytes: maybe(count('Bytes in both directions.')),
        },
        'The traffic.',
      ),
    ),
    dns: maybe(Dns),
    url: maybe(closed({ full: maybe(text('The whole URL.')) }, 'What was fetched.')),
    tls: maybe(
      closed(
        { client: maybe(closed({ ja3: maybe(keyword('JA3 fingerprint of its first message.')) }, 'Who began.')) },
        'The encryption of the traffic.',
      ),
    ),
    dll: maybe(
      closed(
        {
          path: maybe(keyword('Path of the library.')),
          name: maybe(keyword('Name.')),
          hash: maybe(Hash),
          pe: maybe(Pe),
        },
        'A library that was loaded.',
      ),
    ),
    registry: maybe(Registry),
    winlog: maybe(Winlog),
    auditd: maybe(Auditd),
    container: maybe(closed({ id: maybe(keyword('Id of the container, from its control group.')) }, 'The container.')),
    package: maybe(Package),
    group: maybe(
      closed({ id: maybe(keyword('Group id.')), name: maybe(keyword('Group name.')) }, 'A group of accounts.'),
    ),
    service: maybe(
      closed({ name: maybe(keyword('Service or unit.')), state: maybe(keyword('Its state.')) }, 'A service.'),
    ),
    message: maybe(text('A line for people.')),
    firebreak: maybe(
      closed(
        {
          truncated: maybe(
            Type.Array(
              closed(
                {
                  field: keyword('Which field was cut.'),
                  bytes: count('Its whole length in bytes of UTF-8.'),
                  sha256: maybe(
                    Type.String({
                      pattern: '^[0-9a-f]{64}$',
                      description: 'Digest of the whole value; left out when its end was never seen.',
                    }),
                  ),
                },
                'One cut field.',
              ),
              { maxItems: 64, description: 'Fields that were longer than the limit.' },
            ),
          ),
          containment: maybe(
            closed(
              {
                command_id: maybe(keyword('Command that put it in force.')),
                gap_ms: maybe(Type.Number({ minimum: 0, description: 'How long it was not in force, ms, at most.' })),
                packets: maybe(count('Packets dropped by it so far.')),
              },
              'About a containment in force on the host.',
            ),
          ),
          import: maybe(Imported),
          record: maybe(Recorded),
          executable: maybe(Executable),
          namespaces: maybe(Namespaces),
          cgroup: maybe(keyword('Path of the control group.')),
          inventory: maybe(Inventory),
          target: maybe(OtherProcess),
          kernel: maybe(
            closed(
              {
                call: maybe(keyword('The system call or the request in it, such as PTRACE_ATTACH or BPF_PROG_LOAD.')),
                flags: maybe(keyword('Its flags, in words where they have some.')),
                name: maybe(keyword('Name of the module or of the program that was loaded.')),
                kind: maybe(keyword('Type of the program, of the file system or of the namespace.')),
                gained: maybe(
                  Type.Array(keyword('One capability.'), {
                    maxItems: 64,
                    description: 'Capabilities that were not in effect before.',
                  }),
                ),
              },
              'What was asked of the kernel.',
            ),
          ),
        },
        'What ECS has no word for.',
      ),
    ),
  },
  'One fact from a host.',
)
export type Event = Type.Static<typeof Event>
export const eventSchema = Compile(Event)
