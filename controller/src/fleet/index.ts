export type { Enrolment } from './enrolment.ts'
export type { Fleet, HostChange, HostView } from './fleet.ts'
export type { JoinTokens, JoinTokenView, NewJoinToken } from './join-tokens.ts'
export type { Alarm, AlarmKind, RaiseAlarm } from './alarm.ts'
