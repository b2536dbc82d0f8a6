import { FIELD_LIMITS } from '@firebreak/shared/events/event.ts'
import fc from 'fast-check'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AccountNames } from './accounts.ts'
import { fitEvent } from './fit-event.ts'
import { type EventContext, type KnownProcess, PROCESS_ACTIONS, lineageOf, processEvent } from './process-events.ts'
import { ProcessTexts } from './process-texts.ts'
import type { ProcessImage } from './procfs-process.ts'

const AT = '2026-11-24T10:11:12.013Z'
let folder: string
let context: EventContext
let now = 0

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fb-process-texts-'))
  mkdirSync(join(folder, 'etc'))
  account('root')
  const accounts = new AccountNames({ now: () => now }, folder)
  const namespaces = { pid: 1, mnt: 2, net: 3, user: 4, uts: 5, ipc: 6, cgroup: 7 }
  const ordinary = { capabilities: 0x1ffn, namespaces }
  context = { hostName: 'a "host"', accounts, provider: 'kernel', ordinary }
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function account(name: string): void {
  writeFileSync(join(folder, 'etc/passwd'), `${name}:x:0:0::/root:/bin/sh\nbob\\"x:x:7:7::/:/bin/sh\n`)
}

const odd = fc.constantFrom('\0', '"', '\\', '\\ud800', '\n', '\u007f', '\u2028', 'ä', '😀', '/', ' ', '\\x00')
const word = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('/usr/bin/true', 'sh', '-c', '') },
  { weight: 20, arbitrary: fc.string({ unit: fc.oneof(fc.string({ maxLength: 3 }), odd), maxLength: 12 }) },
  { weight: 1, arbitrary: fc.nat({ max: 9 }).map((n) => 'x'.repeat(FIELD_LIMITS.keyword - 4 + n)) },
)
const maybe = <T>(made: fc.Arbitrary<T>) => fc.option(made, { nil: undefined, freq: 6 })
const cut = fc.constantFrom(undefined, { bytes: 9 })
const uid = fc.constantFrom('0', '7', '1000')
const file = fc.record({
  device: fc.constantFrom('8:1', '0:25'),
  inode: fc.bigInt({ min: 1n, max: 3n }),
  mtimeNs: fc.constantFrom(0n, 1_764_000_000_123_456_789n, 10n ** 30n),
  ctimeNs: fc.bigInt({ min: 0n, max: 1n }),
  size: fc.nat({ max: 1 }),
  mode: fc.constantFrom(0o100755, 0o104755),
})
const commandLine = fc
  .record({
    args: fc.array(word, { minLength: 1, maxLength: 4 }),
    textCut: cut,
    argsCut: cut,
    many: fc.nat({ max: 40 }),
  })
  .map(({ args, textCut, argsCut, many }) => {
    const all = many === 0 ? Array<string>(FIELD_LIMITS.list + 1).fill('a') : args
    const isCut = many === 1
    const text = all.join(' ')
    return {
      text,
      args: all,
      argsCount: all.length,
      textCut: isCut ? textCut : undefined,
      argsCut: isCut ? argsCut : undefined,
    }
  })
const image: fc.Arbitrary<ProcessImage> = fc.record({
  name: word,
  executable: maybe(word),
  executableDeleted: fc.boolean(),
  executableMemfd: fc.boolean(),
  file: maybe(file),
  commandLine: maybe(commandLine),
  workingDirectory: maybe(word),
  uid: maybe(uid),
  effectiveUid: maybe(uid),
  loginUid: maybe(uid),
  capabilities: maybe(fc.constantFrom(0n, 0x1ffn, 0x2000n)),
  cgroup: maybe(fc.oneof(fc.constantFrom('/', `/docker/${'ab'.repeat(32)}`, '/lxc/web'), word)),
  namespaces: maybe(fc.constantFrom(1, 9).map((pid) => ({ pid, mnt: 2, net: 3, user: 4, uts: 5, ipc: 6, cgroup: 7 }))),
  cuts: fc.constantFrom(undefined, undefined, undefined, [{ field: 'process.executable', bytes: 9 }]),
})
/** The same facts stand for many processes, as in life. */
const FACTS: readonly KnownProcess['executable'][] = [
  undefined,
  { sha256: 'ab'.repeat(32), package: { name: 'coreutils', version: '9.1', status: 'intact' } },
  { sha256: 'cd'.repeat(32), package: undefined },
  { sha256: undefined, package: { status: 'unknown' } },
]
const person = fc.record({
  pid: fc.integer({ min: 1, max: 9_999 }),
  image,
  facts: fc.constantFrom(...FACTS),
  session: fc.nat({ max: 2 }),
  tty: maybe(fc.constant('/dev/pts/1')),
})
type Person = typeof person extends fc.Arbitrary<infer P> ? P : never
/** The oldest first; each is the child of the one before it. */
const family = fc.array(person, { minLength: 1, maxLength: 5 })

function familyOf(people: readonly Person[]): KnownProcess[] {
  const known: KnownProcess[] = []
  for (const { pid, image: own, facts, session, tty } of people) {
    const lineage = lineageOf(known.at(-1), known.length === 0 ? 0 : 1, context.accounts)
    const identity = { pid, entityId: `0a1b2c3d-${pid}-77`, startTicks: 77, startedAt: AT, ppid: 1, session, tty }
    known.push({ ...identity, image: own, executable: facts, ...lineage })
  }
  return known
}
const extra = fc.record({
  reason: maybe(fc.constant('its start was not "seen"')),
  exitCode: maybe(fc.nat({ max: 255 })),
  runtimeMs: maybe(fc.constantFrom(0, 0.25, 1e-7, 123_456.789)),
})

describe('the text of a process event', () => {
  it('is to the byte what the event itself would give, whoever the process is and whoever came before', () => {
    const texts = new ProcessTexts(context)
    let made = 0
    let all = 0
    fc.assert(
      fc.property(family, fc.constantFrom(...PROCESS_ACTIONS), extra, (people, action, more) => {
        for (const known of familyOf(people)) {
          const event = processEvent(action, AT, known, context, more)
          const text = texts.textOf(action, AT, known, more)
          all += 1
          if (text === undefined) continue
          made += 1
          expect(text).toBe(JSON.stringify(event))
          // Nothing of it would have been cut.
          expect(fitEvent(event)).toBe(event)
        }
      }),
      { numRuns: 4_000 },
    )
    expect(made / all).toBeGreaterThan(0.2)
  })

  it('is made of every ordinary process', () => {
    const texts = new ProcessTexts(context)
    const own = {
      name: 'true',
      executable: '/usr/bin/true',
      executableDeleted: false,
      executableMemfd: false,
      uid: '0',
      effectiveUid: '0',
    }
    const line = { text: 'true', args: ['true'], argsCount: 1, textCut: undefined, argsCut: undefined }
    const rest = {
      file: undefined,
      commandLine: line,
      workingDirectory: '/',
      loginUid: undefined,
      capabilities: 0n,
      cgroup: '/',
      namespaces: undefined,
    }
    const [, child] = familyOf(
      [1, 2].map((pid) => ({ pid, image: { ...own, ...rest }, facts: undefined, session: 1, tty: undefined })),
    )
    for (const action of PROCESS_ACTIONS) expect(texts.textOf(action, AT, child as KnownProcess)).toBeDefined()
  })

  it('has the new name of an account as soon as the event would', () => {
    const texts = new ProcessTexts(context)
    const known = familyOf([
      {
        pid: 1,
        image: {
          ...fc.sample(image, 1)[0],
          uid: '0',
          cuts: undefined,
          commandLine: undefined,
          name: 'a',
          executable: 'a',
          workingDirectory: 'a',
          cgroup: '/',
        } as ProcessImage,
        facts: undefined,
        session: 0,
        tty: undefined,
      },
    ])[0] as KnownProcess
    expect(texts.textOf('process-started', AT, known)).toContain('"name":"root"')
    account('admin')
    now += 2_000
    const text = texts.textOf('process-started', AT, known)
    expect(text).toContain('"name":"admin"')
    expect(text).toBe(JSON.stringify(processEvent('process-started', AT, known, context)))
    account('root')
    now += 2_000
  })
})
