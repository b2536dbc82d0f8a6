/** Key of `meta`: when the backup was made to which this state was set back (ISO 8601); absent when it never was. */
export const RESTORED_TO = 'restored_to'
