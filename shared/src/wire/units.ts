export const KiB = 1_024
export const MiB = 1_024 * KiB
