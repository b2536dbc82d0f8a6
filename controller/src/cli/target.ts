/** Which controller, and with which token: flag, environment, or what a controller on this machine left in its state directory. */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Target } from './api-client.ts'
import { CliError } from './exit-codes.ts'
import type { Io } from './io.ts'

/** Written by `firebreak up`, so that the command line beside it needs no arguments. */
export const API_ADDRESS_FILE = 'api.url'
export const ADMIN_TOKEN_FILE = 'admin.token'
export const CERTIFICATE_FILE = 'tls.crt'
export const LOCAL_STATE_DIR = '.firebreak'
export const SYSTEM_STATE_DIR = '/var/lib/firebreak'
export const DEFAULT_API = 'http://127.0.0.1:8420'

export interface TargetOptions {
  readonly api?: string
  readonly token?: string
  readonly stateDir?: string
  readonly ca?: string
}

export function targetOf(options: TargetOptions, io: Pick<Io, 'env' | 'cwd'>): Target {
  const stateDir = stateDirOf(options, io)
  const url = urlOf(options.api ?? io.env['FIREBREAK_API'] ?? addressIn(stateDir) ?? DEFAULT_API)
  const token = tokenOf(options, io, stateDir)
  if (url.protocol === 'http:' && !isLoopback(url.hostname))
    throw new CliError(
      'usage',
      `a token is not sent in the clear to ${url.host}: use https, or a tunnel to its loopback`,
    )
  const certificate = url.protocol === 'https:' ? certificateOf(options, io, stateDir) : undefined
  return { url, token, ...(certificate === undefined ? {} : { certificate }) }
}

/** The nearest: what was named, the one in this folder, the one of the system. */
export function stateDirOf(options: Pick<TargetOptions, 'stateDir'>, io: Pick<Io, 'env' | 'cwd'>): string {
  const named = options.stateDir ?? io.env['FIREBREAK_STATE_DIR']
  if (named !== undefined && named !== '') return resolve(io.cwd, named)
  const local = join(io.cwd, LOCAL_STATE_DIR)
  return existsSync(join(local, ADMIN_TOKEN_FILE)) ? local : SYSTEM_STATE_DIR
}

function tokenOf(options: TargetOptions, { env, cwd }: Pick<Io, 'env' | 'cwd'>, stateDir: string): string {
  const given = options.token ?? env['FIREBREAK_TOKEN']
  if (given !== undefined && given !== '') return given
  const named = env['FIREBREAK_TOKEN_FILE']
  if (named !== undefined && named !== '') return readToken(resolve(cwd, named))
  const left = join(stateDir, ADMIN_TOKEN_FILE)
  if (!existsSync(left))
    throw new CliError(
      'auth',
      `no token: give --token, FIREBREAK_TOKEN or FIREBREAK_TOKEN_FILE (there is none in ${stateDir} either)`,
    )
  return readToken(left)
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (thrown) {
    throw new CliError('auth', `the token file cannot be read: ${reasonOf(thrown)}`)
  }
}

function addressIn(stateDir: string): string | undefined {
  const path = join(stateDir, API_ADDRESS_FILE)
  try {
    return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
  } catch {
    return undefined // not readable for this account: the same as not there
  }
}

function certificateOf(
  options: TargetOptions,
  { env, cwd }: Pick<Io, 'env' | 'cwd'>,
  stateDir: string,
): string | undefined {
  const named = options.ca ?? env['FIREBREAK_CA']
  const path = named === undefined || named === '' ? join(stateDir, CERTIFICATE_FILE) : resolve(cwd, named)
  try {
    return readFileSync(path, 'utf8')
  } catch (thrown) {
    if (named === undefined || named === '') return undefined
    throw new CliError('usage', `the certificate cannot be read: ${reasonOf(thrown)}`)
  }
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new CliError('usage', `an API address looks like http://127.0.0.1:8420, not ${JSON.stringify(text)}`)
  return url
}

/** WHATWG URL keeps the brackets of an IPv6 address. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname === '::1' || /^127(\.\d{1,3}){3}$/.test(hostname)
}
