/** Version of the agent; the same as in `agent/package.json` (a test compares them), written here because the packaged agent has no other file. */
export const AGENT_VERSION = '0.1.0'
