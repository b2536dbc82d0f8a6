import { describe, expect, it } from 'vitest'
import { mirrorIn } from './apt-mirror.ts'

const deb822 = `# comment
Types: deb deb-src
URIs: http://mirror.example/debian
# another
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`

describe('the archive that root images are built from', () => {
  it('is the one that apt uses for the release, in the newer format', () => {
    expect(mirrorIn([{ name: 'debian.sources', text: deb822 }], 'bookworm')).toBe('http://mirror.example/debian')
  })

  it('is the one that apt uses for the release, in the one-line format', () => {
    const text =
      '# deb http://old.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://one.example/debian bookworm main # ours\n'
    expect(mirrorIn([{ name: 'sources.list', text }], 'bookworm')).toBe('http://one.example/debian')
  })

  it('is never a third party, a disabled source or one of another release', () => {
    const files = [
      { name: 'vendor.list', text: 'deb http://vendor.example/apt vendor-bookworm main\n' },
      {
        name: 'off.sources',
        text: 'Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n',
      },
      { name: 'sid.sources', text: 'Types: deb\nURIs: http://sid.example/debian\nSuites: sid\nComponents: main\n' },
    ]
    expect(mirrorIn(files, 'bookworm')).toBeUndefined()
  })
})
