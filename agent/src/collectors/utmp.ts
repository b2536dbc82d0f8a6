/** Records of utmp(5), wtmp and btmp. Source: glibc, sysdeps/gnu/utmpx.h and bits/utmp.h; numbers are little-endian. */
import { textOfBytes } from './escaped-bytes.ts'
import { ipv6Text } from './procfs-sockets.ts'

export const UTMP_TYPE = { bootTime: 2, loginProcess: 6, userProcess: 7, deadProcess: 8 } as const

export interface UtmpRecord {
  readonly type: number
  readonly pid: number
  readonly line: string
  readonly user: string
  readonly host: string
  readonly ip: string | undefined
  readonly atMs: number
}

interface Layout {
  readonly size: number
  readonly seconds: number
  readonly microseconds: number
  readonly address: number
}

/** x86-64 keeps the 32-bit times of its 32-bit programs; 64-bit ARM never had those. */
const COMPAT: Layout = { size: 384, seconds: 340, microseconds: 344, address: 348 }
const WIDE: Layout = { size: 400, seconds: 344, microseconds: 352, address: 360 }

export function utmpLayoutOf(architecture: NodeJS.Architecture): Layout {
  return architecture === 'arm64' || architecture === 'riscv64' || architecture === 'loong64' ? WIDE : COMPAT
}

/** All whole records in `bytes`; `rest` is how many bytes of half a record follow. */
export function parseUtmp(bytes: Buffer, layout: Layout): { records: UtmpRecord[]; rest: number } {
  const records: UtmpRecord[] = []
  const rest = bytes.length % layout.size
  for (let at = 0; at + layout.size <= bytes.length; at += layout.size) {
    records.push(parseRecord(bytes.subarray(at, at + layout.size), layout))
  }
  return { records, rest }
}

function parseRecord(record: Buffer, layout: Layout): UtmpRecord {
  return {
    type: record.readInt16LE(0),
    pid: record.readInt32LE(4),
    line: fixedText(record.subarray(8, 40)),
    user: fixedText(record.subarray(44, 76)),
    host: fixedText(record.subarray(76, 332)),
    ip: addressOf(record.subarray(layout.address, layout.address + 16)),
    atMs: record.readUInt32LE(layout.seconds) * 1_000 + Math.trunc(record.readInt32LE(layout.microseconds) / 1_000),
  }
}

/** Up to the first NUL; the field need not have one. */
function fixedText(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return textOfBytes(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Four bytes and zeros are IPv4. */
function addressOf(bytes: Buffer): string | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined
  return bytes.subarray(4).every((byte) => byte === 0) ? [...bytes.subarray(0, 4)].join('.') : ipv6Text([...bytes])
}
