import { isUtf8 } from 'node:buffer'

/**
 * Bytes of the kernel (arguments, paths, names) as text: UTF-8 where it is UTF-8, every other byte as `\xNN`. Nothing becomes U+FFFD,
 * so that two different names never look the same. A backslash that was there is left alone: rules look for it.
 */
export function textOfBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const whole = buffer.toString('utf8')
  // One look for nearly all: what is no UTF-8 leaves U+FFFD behind.
  if (!whole.includes('\ufffd') || isUtf8(buffer)) return whole
  let text = ''
  let valid = 0
  for (let at = 0; at < buffer.length; ) {
    const length = sequenceLength(buffer[at] ?? 0)
    if (length > 0 && at + length <= buffer.length && isUtf8(buffer.subarray(at, at + length))) {
      at += length
      continue
    }
    text += `${buffer.toString('utf8', valid, at)}\\x${(buffer[at] ?? 0).toString(16).padStart(2, '0')}`
    at += 1
    valid = at
  }
  return text + buffer.toString('utf8', valid)
}

/** Bytes of the UTF-8 sequence that starts so; 0 when none does. Source: Unicode 16, table 3-7. */
function sequenceLength(first: number): number {
  if (first < 0x80) return 1
  if (first >= 0xc2 && first <= 0xdf) return 2
  if (first >= 0xe0 && first <= 0xef) return 3
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0
}
