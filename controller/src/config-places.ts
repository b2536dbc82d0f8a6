/** Where a controller looks for its configuration; apart from the schema, so that the command line starts without it. */
export const DEFAULT_CONFIG_FILE = '/etc/firebreak/controller.yaml'
export const DEFAULT_DROP_IN_DIR = '/etc/firebreak/conf.d'
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
