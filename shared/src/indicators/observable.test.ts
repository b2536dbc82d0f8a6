import { describe, expect, it } from 'vitest'
import { ipv6Of, ipv6Text } from './address.ts'
import { observableOf } from './observable.ts'

const value = (written: string) => {
  const found = observableOf(written)
  return found.ok ? `${found.value.type} ${found.value.value}` : found.code
}

describe('what an indicator names', () => {
  it.each([
    ['203.0.113.9', 'ipv4 203.0.113.9'],
    ['203[.]0[.]113[.]9', 'ipv4 203.0.113.9'],
    ['::ffff:203.0.113.9', 'ipv4 203.0.113.9'],
    ['203.0.113.9/32', 'ipv4 203.0.113.9'],
    ['203.0.113.9/24', 'cidr 203.0.113.0/24'],
    ['2001:DB8:0:0:0:0:0:1', 'ipv6 2001:db8::1'],
    ['[2001:db8::1]', 'ipv6 2001:db8::1'],
    ['2001:db8:ffff::1/33', 'cidr 2001:db8:8000::/33'],
    ['Evil[.]Example', 'domain evil.example'],
    ['evil(dot)example.', 'domain evil.example'],
    ['*.evil.example', 'domain evil.example'],
    ['bücher.example', 'domain xn--bcher-kva.example'],
    ['hxxps://user@EVIL[.]example:443/a/../B?q#frag', 'url https://evil.example/B?q'],
    ['hxxp[:]//evil[.]example', 'url http://evil.example/'],
    ['Bad.Guy[@]Evil[.]example', 'email bad.guy@evil.example'],
    ['D41D8CD98F00B204E9800998ECF8427E', 'md5 d41d8cd98f00b204e9800998ecf8427e'],
    ['A'.repeat(64), `sha256 ${'a'.repeat(64)}`],
  ])('%s is %s', (written, wanted) => {
    expect(value(written)).toBe(wanted)
  })

  it.each([
    ['0.0.0.0/0', 'too_wide'],
    ['::/0', 'too_wide'],
    ['::ffff:0.0.0.0/96', 'too_wide'],
    ['com', 'unknown_form'],
    ['1.2.3', 'unknown_form'],
    ['010.0.0.1', 'unknown_form'],
    ['999.1.1.1', 'unknown_form'],
    ['javascript://x', 'unknown_form'],
    ['', 'empty'],
    ['x'.repeat(3_000), 'too_long'],
    ['a'.repeat(63), 'unknown_form'],
  ])('%s is refused as %s', (written, code) => {
    expect(value(written)).toBe(code)
  })

  it('is not taken for what a feed says it is when it does not look like it', () => {
    expect(observableOf('203.0.113.9', 'domain')).toMatchObject({ ok: false, code: 'wrong_form' })
    expect(observableOf('d41d8cd98f00b204e9800998ecf8427e', 'ja3')).toMatchObject({ ok: true, value: { type: 'ja3' } })
    expect(observableOf('d41d8cd98f00b204e9800998ecf8427e', 'sha256')).toMatchObject({ ok: false, code: 'wrong_form' })
  })

  it('writes an IPv6 address the one way that RFC 5952 wants', () => {
    const text = (written: string) => ipv6Text(ipv6Of(written) ?? [1, 1, 1, 1])
    expect(text('2001:0db8:0:1:1:1:1:1')).toBe('2001:db8:0:1:1:1:1:1')
    expect(text('2001:0:0:1:0:0:0:1')).toBe('2001:0:0:1::1')
    expect(text('2001:db8:0:0:1:0:0:1')).toBe('2001:db8::1:0:0:1')
    expect(text('::')).toBe('::')
    expect(text('1::')).toBe('1::')
    expect(ipv6Of('1::2::3')).toBeUndefined()
    expect(ipv6Of('1:2:3:4:5:6:7:8:9')).toBeUndefined()
  })
})
