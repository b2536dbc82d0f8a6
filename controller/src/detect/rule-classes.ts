/** Which classes of events a rule looks at, from its log source: where a host is blind for them, the rule is. */
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import type { LogSource } from '@firebreak/shared/sigma/rule.ts'

/** Sigma taxonomy, appendix 2.1.0. */
const OF_CATEGORY: Readonly<Record<string, readonly EventClass[]>> = {
  process_creation: ['process'],
  process_termination: ['process'],
  process_access: ['process'],
  process_tampering: ['process'],
  create_remote_thread: ['process'],
  image_load: ['process'],
  driver_load: ['process'],
  ps_script: ['process'],
  ps_module: ['process'],
  network_connection: ['network'],
  dns_query: ['network'],
  dns: ['network'],
  firewall: ['network'],
  proxy: ['network'],
  webserver: ['network'],
  file_event: ['file'],
  file_change: ['file'],
  file_delete: ['file'],
  file_rename: ['file'],
  file_access: ['file'],
}
const OF_SERVICE: Readonly<Record<string, readonly EventClass[]>> = {
  auth: ['authentication'],
  sshd: ['authentication'],
  sudo: ['authentication'],
  pam: ['authentication'],
  auditd: ['process', 'authentication', 'network', 'file'],
}

/** A rule that does not say, or says what is not known here, looks at everything. */
export function classesOf({ category, service }: LogSource): readonly EventClass[] {
  const named =
    (category === null ? undefined : OF_CATEGORY[category]) ?? (service === null ? undefined : OF_SERVICE[service])
  return named ?? EVENT_CLASSES
}
