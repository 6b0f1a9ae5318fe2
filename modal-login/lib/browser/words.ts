/** Numbers, times and addresses as the page writes them. */

/** `0x1234…abcd`: enough to tell addresses or peer ids apart at a glance. */
export function shortened(value: string, head = 8, tail = 6): string {
  return value.length <= head + tail + 1 ? value : `${value.slice(0, head)}…${value.slice(-tail)}`
}

/** A whole number of any size with separators: `1,234,567`. */
export function grouped(value: string): string {
  return /^-?\d+$/.test(value) ? BigInt(value).toLocaleString('en') : value
}

/** A reward with its sign, as it changes a total: `+8`, `-1,200`, `0`. */
export function signed(value: string): string {
  return /^\d*[1-9]\d*$/.test(value) ? `+${grouped(value)}` : grouped(value)
}

/** The sum of whole numbers of any size. */
export function sum(values: readonly string[]): string {
  return values.reduce((total, value) => total + BigInt(value), 0n).toString()
}

export function clock(at: Date): string {
  return at.toLocaleTimeString('en-GB')
}

/** `20 December 2026, 14:05`, in the reader's time zone. */
export function moment(epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toLocaleString('en-GB', {
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  })
}

/** How long until then, in the largest unit that leaves at least two: `29 days`, `5 hours`, `40 minutes`. */
export function timeLeft(epochSeconds: number, now = Date.now()): string {
  const minutes = Math.max(0, Math.floor((epochSeconds * 1000 - now) / 60_000))
  if (minutes >= 2 * 24 * 60) return `${Math.floor(minutes / (24 * 60))} days`
  if (minutes >= 2 * 60) return `${Math.floor(minutes / 60)} hours`
  return minutes === 1 ? '1 minute' : `${minutes} minutes`
}

const NETWORKS: Readonly<Record<number, string>> = { 685685: 'Gensyn testnet', 685686: 'RL Swarm devnet' }

export function networkName(chainId: number): string {
  return NETWORKS[chainId] ?? `chain ${chainId}`
}
