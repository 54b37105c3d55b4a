// The qemu driver over real images and the real qemu-img: the contract, and what images hold after each
// operation. Where qemu-img is not installed, one skipped test says so.

import { afterEach, describe, test } from 'vitest'
import { qemuDriver } from '../../runtime/drivers/qemu.ts'
import { type DriverStep, driverContract } from '../kit/driver_contract.ts'
import {
  backup,
  emptyFolder,
  look,
  missing,
  newer,
  older,
  PIECES,
  removeFolders,
  SIZE,
  target,
  volume,
} from './qemu_rig.ts'

afterEach(removeFolders)

if (missing !== null) test.skip(`is left out: ${missing}`)

describe.skipIf(missing !== null)('the contract', () => {
  const clone = { kind: 'volume', id: 'v3' }
  const twin = { kind: 'volume', id: 'v4' }
  const restored = { kind: 'volume', id: 'v5' }
  const increment = { kind: 'backup', id: 'b2' }
  const data = { name: 'data', size: SIZE }
  const ofVolume = { name: 'of v1', volume_id: 'v1', size: 1.5 * SIZE }
  const story: DriverStep[] = [
    { ref: volume, operation: 'create', makes: data },
    { ref: target, operation: 'create', makes: { name: 'copy', size: 2 * SIZE } },
    { ref: volume, operation: 'extend', input: { size: 1.5 * SIZE } },
    { ref: older, operation: 'create', makes: ofVolume, related: [volume] },
    { ref: newer, operation: 'create', makes: ofVolume, related: [volume] },
    {
      ref: clone,
      operation: 'create',
      makes: { ...data, size: 2 * SIZE, snapshot_id: 's2' },
      related: [newer],
    },
    {
      ref: twin,
      operation: 'create',
      makes: { ...data, size: 2 * SIZE, source_volume_id: 'v1' },
      related: [volume],
    },
    { ref: backup, operation: 'create', makes: ofVolume, related: [volume] },
    {
      ref: increment,
      operation: 'create',
      makes: { ...ofVolume, parent_id: 'b1' },
      related: [volume, backup],
    },
    {
      ref: restored,
      operation: 'create',
      makes: { ...data, size: 2 * SIZE, backup_id: 'b1' },
      related: [backup],
    },
    { ref: increment, operation: 'restore', input: { volume_id: 'v2' }, related: [target] },
    { ref: increment, operation: 'delete' },
    { ref: backup, operation: 'delete' },
    { ref: older, operation: 'delete', related: [volume] },
    { ref: newer, operation: 'force_delete', related: [volume] },
    { ref: target, operation: 'force_delete' },
    { ref: clone, operation: 'delete' },
    { ref: twin, operation: 'delete' },
    { ref: restored, operation: 'delete' },
    { ref: volume, operation: 'delete' },
  ]
  const open = async () => {
    const folder = await emptyFolder()
    return { driver: qemuDriver(folder, PIECES), look: () => look(folder), close: async () => {} }
  }
  for (const { title, run } of driverContract({ story, open })) test(title, run)
})
