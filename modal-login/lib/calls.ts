import type { Address } from 'viem'
import type { z } from 'zod'
import { PredictionMarketAbi } from './abi/PredictionMarket'
import { SwarmCoordinatorAbi } from './abi/SwarmCoordinator'
import type {
  claimRewardBody,
  guessAnswerBody,
  registerPeerBody,
  submitRewardBody,
  submitWinnerBody,
} from './schemas'
import type { Settings } from './settings'
import type { ContractCall } from './wallet/wallet'

/** This network has no such contract; the message says which setting would name it. */
export class NoContract extends Error {}

export function swarmContract(settings: Settings): Address {
  if (settings.swarmContract) return settings.swarmContract
  throw new NoContract("This login server doesn't know the swarm's contract. Set SWARM_CONTRACT_ADDRESS.")
}

export function market(settings: Settings): Address {
  if (settings.market) return settings.market
  throw new NoContract('This network has no prediction market (PRG_CONTRACT_ADDRESS is not set).')
}

/** A call that becomes complete on a network: its settings name the contract. Throws NoContract. */
export type CallOn = (settings: Settings) => ContractCall

export function registerPeer(body: z.infer<typeof registerPeerBody>): CallOn {
  return onSwarm('registerPeer', [body.peerId])
}

export function submitReward(body: z.infer<typeof submitRewardBody>): CallOn {
  return onSwarm('submitReward', [body.roundNumber, body.stageNumber, body.reward, body.peerId])
}

export function submitWinners(body: z.infer<typeof submitWinnerBody>): CallOn {
  return onSwarm('submitWinners', [body.roundNumber, body.winners, body.peerId])
}

export function guessAnswer(body: z.infer<typeof guessAnswerBody>): CallOn {
  return onMarket('guessAnswer', [body.gameId, body.peerId, body.clueId, body.choiceIdx, body.bet])
}

export function claimReward(body: z.infer<typeof claimRewardBody>): CallOn {
  return onMarket('claimReward', [body.gameId, body.peerId])
}

function onSwarm(functionName: string, args: readonly unknown[]): CallOn {
  return (settings) => ({ address: swarmContract(settings), abi: SwarmCoordinatorAbi, functionName, args })
}

function onMarket(functionName: string, args: readonly unknown[]): CallOn {
  return (settings) => ({ address: market(settings), abi: PredictionMarketAbi, functionName, args })
}
