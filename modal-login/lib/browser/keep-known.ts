import type { PageStatus } from '@/lib/page'

/**
 * The newer status, with the round and the peers of the older one where the chain couldn't be asked: what was true a
 * moment ago says more than an empty page. Only for the same account: another one's peers are never shown.
 */
export function keepKnown(older: PageStatus | null, newer: PageStatus): PageStatus {
  const isWhole = newer.round !== null
  if (isWhole || older === null || older.address !== newer.address) return newer
  return { ...newer, round: older.round, peers: older.peers }
}
