import type { Hex } from 'viem'

/** Places in a deferred action's digest: flag, nonce, length, validation locator, then the deadline (uint48). */
const DEADLINE_AT = 2 + 2 * (1 + 32 + 4 + 21)

/** When the permission in an activation's `deferredActionDigest` ends, seconds since the epoch; null when there is none. */
export function permissionDeadline(deferredActionDigest: Hex): number | null {
  const digits = deferredActionDigest.slice(DEADLINE_AT, DEADLINE_AT + 12)
  return digits.length === 12 ? Number.parseInt(digits, 16) : null
}
