import type { BigIntStats } from 'node:fs'

/** Which file a process runs, and in which state of its content. */
export interface ExecutableFile {
  /** major:minor of the file system. */
  readonly device: string
  readonly inode: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly size: number
  readonly mode: number
}

export function executableFileOf(stat: BigIntStats): ExecutableFile | undefined {
  if (!stat.isFile()) return undefined
  return {
    device: deviceOfStat(stat.dev),
    inode: stat.ino,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    size: Number(stat.size),
    mode: Number(stat.mode),
  }
}

/**
 * The same for the same content. Without the device: on layered file systems stat(2) tells another than the kernel does inside, and no
 * two files share inode, both times to the nanosecond and size by chance.
 */
export function contentKey({ inode, mtimeNs, ctimeNs, size }: ExecutableFile): string {
  return `${inode}:${mtimeNs}:${ctimeNs}:${size}`
}

/** Source: gnu_dev_major(3). */
function deviceOfStat(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xffff_f000n)
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffff_ff00n)
  return `${major}:${minor}`
}

/** From the kernel's own number, major << 20 | minor. */
export function deviceOfKernel(dev: number): string {
  return `${dev >>> 20}:${dev & 0xf_ffff}`
}
