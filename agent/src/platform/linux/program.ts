/** Programs of the system: by absolute path, without a shell, in a fixed environment, with an end. */
import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

const FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/local/bin'] as const
/** PATH of the agent's starter is not trusted; C keeps the words of the tools. */
export const PROGRAM_ENVIRONMENT = { PATH: FOLDERS.join(':'), LC_ALL: 'C' } as const
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024

export interface Ran {
  /** Exit status; undefined when it did not end by itself (signal, timeout, could not be started). */
  readonly code: number | undefined
  readonly stdout: string
  readonly stderr: string
}

export function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** A killed program has this long to end. One that hangs in the kernel, or left a child that holds its output, is not waited for. */
const GRACE_MS = 500

/** Runs `argv[0]`, killed after `timeoutMs`. Resolves soon after that, whatever the program does. Never rejects: what went wrong is in `stderr`. */
export function run(
  argv: readonly string[],
  options: { readonly stdin?: string; readonly timeoutMs: number },
): Promise<Ran> {
  return new Promise((done) => {
    const [file = '', ...args] = argv
    const resolve = (ran: Ran) => {
      clearTimeout(late)
      done(ran)
    }
    const child = execFile(
      file,
      args,
      {
        env: PROGRAM_ENVIRONMENT,
        timeout: options.timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT_BYTES,
        encoding: 'utf8',
      },
      (error, stdout, stderr) => {
        if (!error) resolve({ code: 0, stdout, stderr })
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr })
        else resolve({ code: undefined, stdout, stderr: stderr === '' ? error.message : stderr })
      },
    )
    const late = setTimeout(() => {
      child.stdout?.destroy()
      child.stderr?.destroy()
      child.unref()
      resolve({ code: undefined, stdout: '', stderr: `it did not end within ${options.timeoutMs} ms` })
    }, options.timeoutMs + GRACE_MS)
    // A program that ends before it has read its input closes the pipe: its exit status tells what matters.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.stdin ?? '')
  })
}
