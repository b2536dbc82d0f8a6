import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeSensorConfiguration } from './sensor-configure.ts'
import { SensorFrames } from './sensor-frames.ts'
import { decodeSensorRecord } from './decode-record.ts'
import { SENSOR_RECORD_MAX_BYTES } from './sensor-records.ts'

/** Bytes as the sensor writes them: numbers with their width, strings with their lengths. */
class Layout {
  readonly #parts: Buffer[] = []
  u16(value: number): this {
    return this.#add(2, (bytes) => bytes.writeUInt16LE(value))
  }
  u32(...values: readonly number[]): this {
    for (const value of values) this.#add(4, (bytes) => bytes.writeUInt32LE(value))
    return this
  }
  u64(...values: readonly (number | bigint)[]): this {
    for (const value of values) this.#add(8, (bytes) => bytes.writeBigUInt64LE(BigInt(value)))
    return this
  }
  raw(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes))
    return this
  }
  text(bytes: string | Uint8Array, total = Buffer.from(bytes as string).length): this {
    const content = Buffer.from(bytes as string)
    return this.u32(content.length, total).raw(content)
  }
  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
  #add(length: number, write: (bytes: Buffer) => void): this {
    const bytes = Buffer.alloc(length)
    write(bytes)
    return this.raw(bytes)
  }
}

function header(kind: number, flags = 0, version = 1): Layout {
  return new Layout()
    .u16(version)
    .u16(kind)
    .u32(flags)
    .u64(41, 1_000, 2_000)
    .u32(1, 101, 100, 7)
    .u64(123_000, 456_000)
    .u32(1_000, 1_001, 0, 2, 4_294_967_295, 5, 77, 0)
    .u64(99)
    .u32(11, 12, 13, 14, 15, 16, 17, 3)
    .u64(0xffn)
    .raw(Buffer.from('comm\0\0\0\0\0\0\0\0\0\0\0\0'))
}

const exec = () =>
  header(16)
    .u64(5, 6, 7, 8)
    .u32(0x800_001, 0o100_755, 0, 0, 1, 0x5, 2, 100)
    .u64(1)
    .text('/usr/bin/true')
    .text('true')
    .text('')
    .text('/tmp', 0xffff_ffff)
    .text(Buffer.from('true\0a\xff\0', 'latin1'), 40_000)
    .text('/user.slice')
    .bytes()
const socket = () =>
  header(36, 1)
    .u16(2)
    .u16(6)
    .u16(80)
    .u16(443)
    .raw(Buffer.from([127, 0, 0, 1, ...Array.from({ length: 12 }, () => 0)]))
    .raw(Buffer.from([10, 0, 0, 1, ...Array.from({ length: 12 }, () => 0)]))
    .u64(9, 10, 11, 12)
    .u32(111, 2, 13, 0)
    .text('')
    .bytes()
const file = () =>
  header(50, 6)
    .u64(0, 0, 0)
    .u32(0, 0, 0xffff_ffff, 0xffff_ffff, 0, 0, 0xffff_ffff, 0)
    .text('/etc/a')
    .text('/etc/b')
    .bytes()
const stats = () => header(2).u64(1, 2, 3, 4, 5, 6, 7, 8, 9).bytes()
const exit = () => header(17).u32(3, 9, 1, 0).u64(5).bytes()
const call = () =>
  header(65).u64(0xffff_ffff_ffff_ffffn, 16, 8, 0, 0).u32(8, 1, 2, 3, 4, 0).u64(0, 5).text('').text('').text('').bytes()
const hello = () => header(1).u32(5, 6, 1, 7, 8, 0).text('0.1.0').text('6.18').u32(3, 0, 2, 0).text('no BTF').bytes()
const ALL = [exec, socket, file, stats, exit, call, hello]

describe('records of the kernel sensor', () => {
  it('are read as laid out', () => {
    expect(decodeSensorRecord(exec())).toMatchObject({
      ok: true,
      value: {
        kind: 'exec',
        seq: 41n,
        cpu: 1,
        actor: {
          pid: 100,
          tid: 101,
          ppid: 7,
          uid: 1_000,
          gid: 1_001,
          euid: 0,
          egid: 2,
          loginUid: 4_294_967_295,
          session: 77,
          innerPid: 3,
        },
        file: { inode: 5n, mtimeNs: 6n, ctimeNs: 7n, size: 8, mode: 0o100_755 },
        isMemfd: true,
        isDeleted: false,
        gainedPrivileges: true,
        isScript: false,
        workingDirectory: { total: undefined },
        arguments: { bytes: new Uint8Array(Buffer.from('true\0a\xff\0', 'latin1')), total: 40_000 },
      },
    })
    expect(decodeSensorRecord(socket())).toMatchObject({
      value: {
        kind: 'tcp-close',
        actor: undefined,
        remoteAddress: new Uint8Array([10, 0, 0, 1]),
        bytesSent: 10,
        error: 111,
      },
    })
    expect(decodeSensorRecord(file())).toMatchObject({
      value: { isSpelled: true, setuidBits: true, oldMode: undefined },
    })
    expect(decodeSensorRecord(stats())).toMatchObject({
      value: { classes: { file: { submitted: 7, dropped: 8, forwarded: 9 } } },
    })
    expect(decodeSensorRecord(call())).toMatchObject({ value: { kind: 'ptrace', result: -1n, target: { pid: 8 } } })
    expect(decodeSensorRecord(hello())).toMatchObject({
      value: { sources: [{ source: 'tcp', attached: false, error: 2, why: 'no BTF' }] },
    })
  })

  it('are refused when they are shorter or longer by any number of bytes', () => {
    for (const make of ALL) {
      const whole = make()
      expect(decodeSensorRecord(whole).ok).toBe(true)
      for (let length = 0; length < whole.length; length++)
        expect(decodeSensorRecord(whole.subarray(0, length))).toMatchObject({ ok: false, code: 'too_short' })
      expect(decodeSensorRecord(Buffer.concat([whole, Buffer.alloc(1)]))).toMatchObject({
        ok: false,
        code: 'wrong_length',
      })
    }
  })

  it('are refused with a code when version, kind or a value is not known', () => {
    expect(decodeSensorRecord(header(16, 0, 2).bytes())).toMatchObject({ code: 'wrong_version' })
    expect(decodeSensorRecord(header(200).bytes())).toMatchObject({ code: 'unknown_kind' })
    expect(decodeSensorRecord(header(17).u32(0, 0, 2, 0).u64(0).bytes())).toMatchObject({ code: 'bad_value' })
    expect(decodeSensorRecord(header(1).u32(5, 6, 0xffff_ffff, 7, 8, 0).text('').text('').bytes())).toMatchObject({
      code: 'bad_value',
    })
    expect(decodeSensorRecord(Buffer.alloc(SENSOR_RECORD_MAX_BYTES + 1))).toMatchObject({ code: 'wrong_length' })
  })

  it('never make the decoder throw, whatever the bytes', () => {
    const damaged = fc
      .tuple(fc.constantFrom(...ALL), fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 12 }))
      .map(([make, changes]) => {
        const bytes = make()
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return new Uint8Array(bytes)
      })
    fc.assert(
      fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 600 })), (bytes) => {
        const record = decodeSensorRecord(bytes)
        if (!record.ok) expect(record.why.length).toBeGreaterThan(0)
      }),
      { numRuns: 3_000 },
    )
  })

  it('keep their bytes when the buffer they came in is used again', () => {
    const bytes = exec()
    const record = decodeSensorRecord(bytes)
    bytes.fill(0)
    if (!record.ok || record.value.kind !== 'exec') throw new Error('no exec')
    expect(Buffer.from(record.value.executable.bytes).toString()).toBe('/usr/bin/true')
  })
})

describe('the stream of the kernel sensor', () => {
  const framed = (records: readonly Uint8Array[]) =>
    Buffer.concat(records.map((record) => new Layout().u32(record.length).raw(record).bytes()))

  it('gives the same frames however it is cut into chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 40 }),
        (records, cuts) => {
          const frames = new SensorFrames()
          const bytes = framed(records)
          const got: Uint8Array[] = []
          for (let at = 0, n = 0; at < bytes.length; n++) {
            const size = cuts[n % cuts.length] ?? 1
            const chunk = Buffer.from(bytes.subarray(at, at + size))
            expect(frames.push(chunk, (frame) => got.push(new Uint8Array(frame))).ok).toBe(true)
            chunk.fill(0xee)
            at += size
          }
          expect(got).toEqual(records.map((record) => new Uint8Array(record)))
          expect(frames.pending).toBe(0)
        },
      ),
    )
  })

  it('ends at a frame that cannot be, and takes nothing after it', () => {
    for (const [bytes, code] of [
      [Buffer.from([0, 0, 0, 0]), 'frame_empty'],
      [Buffer.from([1, 0, 1, 0]), 'frame_too_long'],
    ] as const) {
      const frames = new SensorFrames()
      let taken = 0
      expect(frames.push(bytes, () => taken++)).toMatchObject({ ok: false, code })
      expect(frames.push(framed([Buffer.from('later')]), () => taken++)).toMatchObject({ ok: false, code })
      expect(taken).toBe(0)
    }
  })
})

describe('what the kernel sensor is told', () => {
  const valid = {
    switches: { process: true, network: false, dns: true, file: false, kernelCalls: true },
    excludedPid: 7,
    coalesceUs: 1_000,
    statsIntervalMs: 5_000,
    paths: [Buffer.from('/etc'), Buffer.from('/root/\xff', 'latin1')],
  }

  it('is one frame with its numbers and paths', () => {
    const encoded = encodeSensorConfiguration(valid)
    const body = new Layout()
      .u32(1, 0x15, 7, 1_000, 5_000, 2)
      .u32(4)
      .raw(Buffer.from('/etc'))
      .u32(7)
      .raw(Buffer.from('/root/\xff', 'latin1'))
      .bytes()
    expect(encoded).toEqual({ ok: true, value: new Layout().u32(body.length).raw(body).bytes() })
  })

  it.each([
    [{ paths: Array.from({ length: 65 }, () => Buffer.from('/x')) }, 'too_many_paths'],
    [{ paths: [Buffer.from('relative')] }, 'bad_path'],
    [{ paths: [Buffer.from('/a\0b')] }, 'bad_path'],
    [{ paths: [Buffer.from(`/${'x'.repeat(4_096)}`)] }, 'bad_path'],
    [{ coalesceUs: 100_001 }, 'bad_number'],
    [{ statsIntervalMs: 99 }, 'bad_number'],
    [{ excludedPid: -1 }, 'bad_number'],
  ] as const)('is refused before it is sent: %o', (change, code) => {
    expect(encodeSensorConfiguration({ ...valid, ...change })).toMatchObject({ ok: false, code })
  })
})
