// What can go wrong with qemu-img and its images, worded for the row's error. What the folder itself can
// answer has the file driver's codes, and so has what both drivers refuse.

import { DriverError } from '../../driver.ts'
import type { FileDriverErrorCode } from '../file/error.ts'

export type QemuDriverErrorCode =
  | FileDriverErrorCode
  /** qemu-img is missing or too old: the message says how to install it. */
  | 'no_qemu_img'
  /** An image with a feature that this driver never writes, or no qcow2 image; it is not read. */
  | 'bad_image'

export function failed(code: QemuDriverErrorCode, message: string, cause?: unknown): DriverError {
  return new DriverError(code, message, cause === undefined ? undefined : { cause })
}
