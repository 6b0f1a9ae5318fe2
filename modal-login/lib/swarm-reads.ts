import { getContract } from 'viem'
import { SwarmCoordinatorAbi } from './abi/SwarmCoordinator'
import { swarmContract } from './calls'
import type { Context } from './context'

/** The views of the swarm's contract. Throws NoContract at once; the views throw what viem throws. */
export function swarmReads({ chain, settings }: Context) {
  return getContract({ address: swarmContract(settings), abi: SwarmCoordinatorAbi, client: chain.client })
    .read
}
