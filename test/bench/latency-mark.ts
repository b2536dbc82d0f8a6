/** In the command line of the processes that are followed. */
export const MARK = 'fb-latency-'
