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

export function registerPeer(settings: Settings, body: z.infer<typeof registerPeerBody>): ContractCall {
  return onSwarm(settings, 'registerPeer', [body.peerId])
}

export function submitReward(settings: Settings, body: z.infer<typeof submitRewardBody>): ContractCall {
  return onSwarm(settings, 'submitReward', [body.roundNumber, body.stageNumber, body.reward, body.peerId])
}

export function submitWinners(settings: Settings, body: z.infer<typeof submitWinnerBody>): ContractCall {
  return onSwarm(settings, 'submitWinners', [body.roundNumber, body.winners, body.peerId])
}

export function guessAnswer(settings: Settings, body: z.infer<typeof guessAnswerBody>): ContractCall {
  return onMarket(settings, 'guessAnswer', [body.gameId, body.peerId, body.clueId, body.choiceIdx, body.bet])
}

export function claimReward(settings: Settings, body: z.infer<typeof claimRewardBody>): ContractCall {
  return onMarket(settings, 'claimReward', [body.gameId, body.peerId])
}

function onSwarm(settings: Settings, functionName: string, args: readonly unknown[]): ContractCall {
  return { address: swarmContract(settings), abi: SwarmCoordinatorAbi, functionName, args }
}

function onMarket(settings: Settings, functionName: string, args: readonly unknown[]): ContractCall {
  return { address: market(settings), abi: PredictionMarketAbi, functionName, args }
}
