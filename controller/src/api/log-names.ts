/** Log names of this room. */
export const API_LOGS = {
  'api.server.listening': 'The API can be reached.',
  'api.request.failed': 'A request ended in a fault of the controller; the request id leads to it.',
  'api.request.unauthenticated': 'A request came without a valid token.',
  'api.request.forbidden': 'A token asked for more than its role may.',
  'api.export.failed': 'An export of events stopped before its end; what was sent of it is not whole.',
  'api.stream.dropped': 'A listener did not read fast enough and lost messages.',
} as const
