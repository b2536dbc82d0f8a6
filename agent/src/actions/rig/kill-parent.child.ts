/** An agent that is ordered to end the process it was started by; prints what its check says. */
import { systemClock } from '@firebreak/shared/clock.ts'
import { createPlatform } from '../../platform/create-platform.ts'
import { createKillProcess } from '../kill-process.ts'

const kill = createKillProcess({
  platform: createPlatform(),
  stateDir: process.argv[2] ?? '',
  clock: systemClock,
  protects: () => false,
})
const args = { pid: process.ppid, tree: true }
const checked = await kill.check({ cmdId: 'c', type: 'kill-process', args, step: () => undefined })
console.log(checked.ok ? 'accepted' : checked.code)
