/** Both the agent and the readers of recordings need it, so it lives with the events. */
export { textOfBytes } from '@firebreak/shared/events/escaped-bytes.ts'
