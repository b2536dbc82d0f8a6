import { describe, expect, it } from 'vitest'
import { WorkQueue } from './work-queue.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('the queue of runs', () => {
  it('never works on one key twice at a time, and comes back to a key that was added meanwhile', async () => {
    let active = 0
    let most = 0
    let times = 0
    const queue = new WorkQueue<string>(8, async () => {
      most = Math.max(most, ++active)
      times++
      await turn()
      active--
    })
    for (let i = 0; i < 100; i++) queue.add('a')
    await queue.idle()
    expect([most, times]).toEqual([1, 2])
  })

  it('works on no more keys at once than allowed, and on all in the end', async () => {
    let active = 0
    let most = 0
    const seen = new Set<number>()
    const queue = new WorkQueue<number>(3, async (key) => {
      most = Math.max(most, ++active)
      seen.add(key)
      await turn()
      active--
    })
    for (let i = 0; i < 50; i++) queue.add(i)
    await queue.idle()
    expect([most, seen.size]).toEqual([3, 50])
  })

  it('finishes what it has begun when it is closed, and begins nothing more', async () => {
    const seen: number[] = []
    const queue = new WorkQueue<number>(1, async (key) => {
      await turn()
      seen.push(key)
    })
    for (let i = 0; i < 5; i++) queue.add(i)
    queue.close()
    queue.add(9)
    await queue.idle()
    expect(seen).toEqual([0])
  })
})
