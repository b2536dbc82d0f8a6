import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { createReleaseCodeDoor } from './release-code.ts'

function door(state: 'verified' | 'failed' = 'verified') {
  const clock = new FakeClock()
  const released: string[] = []
  const open = createReleaseCodeDoor(
    {
      isReleaseCode: (code) => code === 'right',
      async releaseLocally(reason) {
        released.push(reason)
        return state === 'verified'
          ? { state, evidence: {} }
          : { state, code: 'action_failed', why: 'nft said no', evidence: undefined }
      },
    },
    { clock, log: silentLog },
  )
  return { open, clock, released }
}

it('frees the host with the right code, and with no other', async () => {
  const { open, released } = door()
  expect(await open('wrong')).toMatchObject({ code: 'wrong_code' })
  expect(released).toEqual([])
  expect(await open('right')).toMatchObject({ ok: true })
  expect(released.length).toBe(1)
})

it('takes the code as it was copied, with white space around it, and in no other spelling', async () => {
  const { open, released } = door()
  expect(await open('RIGHT')).toMatchObject({ code: 'wrong_code' })
  expect(await open(' right\r\n')).toMatchObject({ ok: true })
  expect(released.length).toBe(1)
})

it('takes five tries a minute, right ones too', async () => {
  const { open, clock, released } = door()
  for (let i = 0; i < 5; i++) await open('wrong')
  expect(await open('right')).toMatchObject({ code: 'too_many_tries' })
  expect(released).toEqual([])
  await clock.advance(60_000)
  expect(await open('right')).toMatchObject({ ok: true })
})

it('says so when the host could not be freed', async () => {
  expect(await door('failed').open('right')).toMatchObject({ code: 'release_failed', why: 'nft said no' })
})
