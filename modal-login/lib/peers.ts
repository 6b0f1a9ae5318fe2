import { type Address, formatUnits } from 'viem'
import type { Context } from './context'
import { lastRewards, lastVotes } from './last-sent'
import { betTokenBalance } from './market'
import { animalName } from './names'
import type { PeerStatus } from './page'
import { swarmReads } from './swarm-reads'

const BET_TOKEN_DECIMALS = 18

export async function roundAndStage(context: Context): Promise<{ round: bigint; stage: bigint }> {
  const swarm = swarmReads(context)
  const [round, stage] = await Promise.all([swarm.currentRound(), swarm.currentStage()])
  return { round, stage }
}

/** Ids of the account's peers, in the order in which they were registered. */
export async function peerIdsOf(context: Context, account: Address): Promise<readonly string[]> {
  const [ids] = await swarmReads(context).getPeerId([[account]])
  return ids ?? []
}

/** What the contract knows of these peers of the account. Throws what viem throws. */
export async function describePeers(
  context: Context,
  account: Address,
  peerIds: readonly string[],
  round: bigint,
): Promise<PeerStatus[]> {
  if (peerIds.length === 0) return []
  const swarm = swarmReads(context)
  const [totals, wins, bets, rewards, votes] = await Promise.all([
    swarm.getTotalRewards([peerIds]),
    Promise.all(peerIds.map((peerId) => swarm.getTotalWins([peerId]))),
    Promise.all(peerIds.map((peerId) => betTokens(context, peerId))),
    lastRewards(context, account, peerIds, round),
    lastVotes(context, peerIds, round),
  ])
  return peerIds.map((peerId, place) => ({
    peerId,
    name: animalName(peerId),
    lastReward: rewards.get(peerId) ?? null,
    lastVote: votes.get(peerId) ?? null,
    totalReward: String(totals[place] ?? 0n),
    totalWins: String(wins[place] ?? 0n),
    betTokens: bets[place] ?? null,
  }))
}

async function betTokens(context: Context, peerId: string): Promise<string | null> {
  if (!context.settings.market) return null
  return formatUnits(await betTokenBalance(context, peerId), BET_TOKEN_DECIMALS)
}
