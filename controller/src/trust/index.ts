export type { ControllerTrust, TlsIdentity } from './controller-trust.ts'
export type { Wrap } from './wrap.ts'
