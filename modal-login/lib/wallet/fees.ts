import type { Chain } from '../chain'

/** Nodes want a tenth more for a replacement. */
const RAISE_PERCENT = 125n

/** What a transaction offers for a unit of gas, in wei (EIP-1559). */
export interface Fees {
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

/** Room for the base fee to double; nothing at all on a chain that charges nothing. Throws WalletUnavailable. */
export async function currentFees(chain: Chain): Promise<Fees> {
  const { client } = chain
  const [gasPrice, block] = await chain.ask(() =>
    Promise.all([client.getGasPrice(), client.getBlock({ blockTag: 'latest' })]),
  )
  // Such a node may still suggest a tip, which an account without money couldn't pay.
  if (gasPrice === 0n) return { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n }
  const baseFee = block.baseFeePerGas ?? gasPrice
  const tip = gasPrice > baseFee ? gasPrice - baseFee : 1n
  return { maxFeePerGas: 2n * baseFee + tip, maxPriorityFeePerGas: tip }
}

/** What replaces a transaction that offered `before` where the chain now asks `asked`. */
export function raised(before: Fees, asked: Fees): Fees {
  const raise = (old: bigint, now: bigint) => {
    const least = old === 0n ? 0n : (old * RAISE_PERCENT) / 100n + 1n
    return now > least ? now : least
  }
  return {
    maxFeePerGas: raise(before.maxFeePerGas, asked.maxFeePerGas),
    maxPriorityFeePerGas: raise(before.maxPriorityFeePerGas, asked.maxPriorityFeePerGas),
  }
}
