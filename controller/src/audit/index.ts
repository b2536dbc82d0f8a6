export type { Audit, AuditRecord } from './audit.ts'
export type { AuditLog } from './audit-log.ts'
export type { AuditLine, AuditVerification } from './chain.ts'
