export type { Search, SearchRefusal } from './search.ts'
