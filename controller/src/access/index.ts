export type { Right } from './rights.ts'
export type { Guard, Route } from './route-rights.ts'
export type { NewToken, Principal, TokenRefusal, Tokens, TokenView } from './tokens.ts'
