import { PredictionMarketAbi } from './abi/PredictionMarket'
import { market } from './calls'
import type { Context } from './context'

/** The peer's bet tokens in the market's smallest unit (10^-18). Throws NoContract, WalletUnavailable. */
export async function betTokenBalance({ chain, settings }: Context, peerId: string): Promise<bigint> {
  const address = market(settings)
  return await chain.ask(() =>
    chain.client.readContract({
      address,
      abi: PredictionMarketAbi,
      functionName: 'betTokenBalance',
      args: [peerId],
    }),
  )
}
