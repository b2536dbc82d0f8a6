/** A fleet in the lab: a controller, Debian hosts with the packaged agent, an attacker and a neighbour. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildAgentPackage } from '@firebreak/installers/linux/build-deb.ts'
import { createLab, type Lab, type LabHost, type LabNode, type Running } from '../lab/lab.ts'

export const GATEWAY_PORT = 8443
const API_PORT = 8080
/** Nodes get a clean environment: where compiled sources are kept is handed on, or each command compiles all of them again. */
const COMPILED: Readonly<Record<string, string>> =
  process.env['NODE_COMPILE_CACHE'] === undefined ? {} : { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }

export interface Fleet extends AsyncDisposable {
  readonly lab: Lab
  readonly controller: Controller
  readonly hosts: readonly LabHost[]
}

export interface FleetOptions {
  readonly hosts: readonly string[]
  /** Text of /etc/firebreak/agent.yaml; the package's own when left out. */
  readonly agentConfig?: string
  /** Text of the controller's configuration file. */
  readonly controllerConfig?: string
  /** Text of /etc/firebreak/ceiling.yaml; the package's own when left out. */
  readonly ceiling?: string
}

export async function bootFleet(options: FleetOptions): Promise<Fleet> {
  const lab = await createLab({ name: 'fleet' })
  try {
    const controller = await Controller.start(lab, options.controllerConfig ?? '')
    const [deb, ...hosts] = await Promise.all([
      buildAgentPackage({ sensor: 'required' }),
      ...options.hosts.map((name) => lab.host(name)),
    ])
    await Promise.all(hosts.map((host) => join_(host, deb, controller, options)))
    return {
      lab,
      controller,
      hosts,
      async [Symbol.asyncDispose]() {
        await controller.stop()
        await lab[Symbol.asyncDispose]()
        await controller.forget()
      },
    }
  } catch (thrown) {
    await lab[Symbol.asyncDispose]()
    throw thrown
  }
}

/** Installs the package and joins with one join string, as an administrator would. */
async function join_(host: LabHost, deb: string, controller: Controller, options: FleetOptions): Promise<void> {
  await host.installPackage(deb)
  const { agentConfig, ceiling } = options
  if (agentConfig !== undefined) await host.writeFile('/etc/firebreak/agent.yaml', agentConfig, 0o640)
  if (ceiling !== undefined) await host.writeFile('/etc/firebreak/ceiling.yaml', ceiling, 0o640)
  const join = await controller.joinString()
  await host.exec(['firebreak-agent', 'enroll', '--controller', controller.url, '--join', join])
  await controller.until(`${host.name} is connected`, async () => {
    const shown = await controller.json<{ connected: boolean }>(['hosts', 'show', host.name])
    return shown.connected ? true : undefined
  })
}

/** `firebreak up` on a node of its own, and `firebreak` beside it. */
export class Controller {
  readonly node: LabNode
  readonly stateDir: string
  #running: Running | undefined

  private constructor(node: LabNode, stateDir: string) {
    this.node = node
    this.stateDir = stateDir
  }

  static async start(lab: Lab, config: string): Promise<Controller> {
    const node = await lab.node('controller')
    const stateDir = await mkdtemp(join(tmpdir(), 'firebreak-e2e-'))
    const controller = new Controller(node, stateDir)
    await writeFile(join(stateDir, 'controller.yaml'), config)
    await controller.up()
    return controller
  }

  get url(): string {
    return `https://${this.node.address4}:${GATEWAY_PORT}`
  }

  async up(): Promise<void> {
    const args = [
      'up',
      '--config',
      join(this.stateDir, 'controller.yaml'),
      '--state-dir',
      this.stateDir,
      '--api-port',
      String(API_PORT),
      '--gateway-host',
      '::',
      '--gateway-port',
      String(GATEWAY_PORT),
    ]
    const publics = [this.node.address4, `[${this.node.address6}]`].flatMap((address) => [
      '--public',
      `${address}:${GATEWAY_PORT}`,
    ])
    this.#running = this.node.spawn([process.execPath, 'controller/src/main.ts', ...args, ...publics], {
      env: COMPILED,
    })
    await this.until('the controller is ready', async () => {
      if (this.#running?.ended) throw new Error(`the controller ended: ${this.#running.stderr}`)
      const ready = await this.node.exec(['curl', '-sf', `http://127.0.0.1:${API_PORT}/readyz`], { check: false })
      return ready.code === 0 ? true : undefined
    })
  }

  /** `kill -HUP`, as `systemctl reload` does it; returns the line in which the controller says what came of it. */
  async reload(): Promise<string> {
    const running = this.#running
    const pid = await running?.pidInside()
    if (running === undefined || pid === undefined) throw new Error('the controller does not run')
    const told = running.stderr.length
    await this.node.exec(['kill', '-HUP', String(pid)])
    return await this.until(
      'the controller says what it reloaded',
      async () => /^Reloaded: .*$/m.exec(running.stderr.slice(told))?.[0],
    )
  }

  async stop(): Promise<void> {
    await this.#running?.[Symbol.asyncDispose]()
    this.#running = undefined
  }

  async forget(): Promise<void> {
    await rm(this.stateDir, { recursive: true, force: true })
  }

  /** `firebreak ARGS`; the exit code is the caller's to judge. */
  async cli(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = {
      ...COMPILED,
      FIREBREAK_API: `http://127.0.0.1:${API_PORT}`,
      FIREBREAK_TOKEN_FILE: join(this.stateDir, 'admin.token'),
      NO_COLOR: '1',
    }
    const done = await this.node.exec([process.execPath, 'controller/src/main.ts', ...args], {
      check: false,
      env,
      timeoutMs: 120_000,
    })
    return { code: done.code, stdout: done.stdout, stderr: done.stderr }
  }

  async json<T>(args: readonly string[]): Promise<T> {
    const done = await this.cli([...args, '--json'])
    if (done.code !== 0) throw new Error(`firebreak ${args.join(' ')}: ${done.code}\n${done.stdout}${done.stderr}`)
    return JSON.parse(done.stdout) as T
  }

  async joinString(): Promise<string> {
    const done = await this.cli(['join-token', 'create', '--raw'])
    if (done.code !== 0) throw new Error(done.stderr)
    return done.stdout.trim()
  }

  /** Asks until there is an answer; tells what it waited for when there is none. */
  async until<T>(what: string, ask: () => Promise<T | undefined>, timeoutMs = 60_000): Promise<T> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const answer = await ask()
      if (answer !== undefined) return answer
      if (performance.now() > deadline)
        throw new Error(`waited ${timeoutMs} ms in vain: ${what}\n${this.#running?.stderr.slice(-4000) ?? ''}`)
      await sleep(100)
    }
  }
}
