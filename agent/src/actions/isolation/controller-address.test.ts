import { expect, it } from 'vitest'
import { openAddressesOf, openAddressOf, textOf } from './controller-address.ts'

const text = (ip: string, port = 443) => {
  const address = openAddressOf({ ip, port })
  return address && textOf(address)
}

it.each([
  ['192.0.2.1', '192.0.2.1:443'],
  ['::ffff:192.0.2.1', '192.0.2.1:443'],
  ['::FFFF:c000:201', '192.0.2.1:443'],
  ['2001:DB8:0:0::1', '[2001:db8::1]:443'],
  ['fe80::1%eth0', '[fe80::1%eth0]:443'],
  ['::1', '[::1]:443'],
])('opens %s as %s', (ip, expected) => {
  expect(text(ip)).toBe(expected)
})

it.each([
  'controller.example',
  '0.0.0.0',
  '255.255.255.255',
  '224.0.0.1',
  '::',
  'ff02::1',
  'fe80::1',
  '2001:db8::1%eth0',
  'fe80::1%eth0" accept; #',
  'fe80::1%a b',
  '1.2.3.4 } ; flush ruleset',
  '',
])('opens nothing for %j', (ip) => {
  expect(text(ip)).toBeUndefined()
})

it.each([0, -1, 65_536, 1.5, Number.NaN])('opens nothing for port %s', (port) => {
  expect(text('192.0.2.1', port)).toBeUndefined()
})

it('gives the same list whatever the order and spelling', () => {
  const one = openAddressesOf([
    { ip: '::ffff:192.0.2.1', port: 443 },
    { ip: '2001:db8::1', port: 443 },
    { ip: '192.0.2.1', port: 443 },
  ])
  expect(one.map(textOf)).toEqual(['192.0.2.1:443', '[2001:db8::1]:443'])
})
