import { type Address, ContractFunctionExecutionError, HttpRequestError } from 'viem'
import { SwarmCoordinatorAbi } from './abi/SwarmCoordinator'
import { swarmContract } from './calls'
import type { Context } from './context'
import { animalName } from './names'
import type { PeerStatus } from './page'
import { swarmReads } from './swarm-reads'

/** How far back the last reward and vote are looked for: nodes send every few rounds. */
const ROUNDS_BACK = 10
/** Looked at first; for a peer that takes part, the rest is never asked. */
const NEWEST_ROUNDS = 3
const MAX_STAGES = 3
/** What a hub lets one search of the log cover. */
const LOG_BLOCKS = 2_000n

interface Position {
  round: bigint
  stage: bigint
}

/** Of each peer that voted in one of the last rounds: its newest vote. */
export async function lastVotes(
  context: Context,
  peerIds: readonly string[],
  newest: bigint,
): Promise<Map<string, PeerStatus['lastVote']>> {
  const swarm = swarmReads(context)
  return await newestFirst(recentRounds(newest), peerIds, async (round, asked) => {
    const votes = await Promise.all(asked.map((peerId) => swarm.getVoterVotes([round, peerId])))
    return asked.flatMap((peerId, place) => {
      const winners = (votes[place] ?? []).map((winner) => ({ peerId: winner, name: animalName(winner) }))
      return winners.length > 0 ? [[peerId, { round: Number(round), winners }] as const] : []
    })
  })
}

/** Of each peer that sent a reward in one of the last rounds: its newest. */
export async function lastRewards(
  context: Context,
  account: Address,
  peerIds: readonly string[],
  newest: bigint,
): Promise<Map<string, PeerStatus['lastReward']>> {
  const stageCount = await swarmReads(context).stageCount()
  const stages = Array.from(
    { length: Math.min(Number(stageCount), MAX_STAGES) },
    (_, back) => stageCount - 1n - BigInt(back),
  )
  const positions = recentRounds(newest).flatMap((round) => stages.map((stage) => ({ round, stage })))
  return await newestFirst(positions, peerIds, async (position, asked) => {
    const rewards = await rewardsAt(context, account, peerIds, position)
    return asked.flatMap((peerId) => {
      const reward = rewards.get(peerId)
      return reward === undefined
        ? []
        : [[peerId, { round: Number(position.round), reward: String(reward) }] as const]
    })
  })
}

/** Rewards that peers of the account sent at this position. */
async function rewardsAt(
  context: Context,
  account: Address,
  peerIds: readonly string[],
  { round, stage }: Position,
): Promise<Map<string, bigint>> {
  const swarm = swarmReads(context)
  const [flags, [sum]] = await Promise.all([
    Promise.all(
      peerIds.map((peerId) => unlessRefused(swarm.hasSubmittedRoundStageReward([round, stage, peerId]))),
    ),
    swarm.getRoundStageReward([round, stage, [account]]),
  ])
  const senders = peerIds.filter((_, place) => flags[place])
  const [only] = senders
  if (senders.length === 1 && only !== undefined) return new Map([[only, sum ?? 0n]])
  return senders.length === 0 ? new Map() : await rewardsInLog(context, account, { round, stage })
}

/** The contract keeps one sum an account; what each of several peers sent is only in the log, while that reaches back. */
async function rewardsInLog(
  context: Context,
  account: Address,
  position: Position,
): Promise<Map<string, bigint>> {
  const { client } = context.chain
  const latest = await client.getBlockNumber()
  const events = await client.getContractEvents({
    address: swarmContract(context.settings),
    abi: SwarmCoordinatorAbi,
    eventName: 'RewardSubmitted',
    args: { account, round: position.round, stage: position.stage },
    fromBlock: latest < LOG_BLOCKS ? 0n : latest - LOG_BLOCKS + 1n,
    toBlock: latest,
    strict: true,
  })
  return new Map(events.map(({ args }) => [args.peerId, args.reward]))
}

/**
 * The first finding of each peer along the positions, which go back in time. The newest are asked about together, the
 * rest only for peers that weren't found there.
 */
async function newestFirst<At, Found>(
  positions: readonly At[],
  peerIds: readonly string[],
  look: (position: At, asked: readonly string[]) => Promise<(readonly [string, Found])[]>,
): Promise<Map<string, Found>> {
  const found = new Map<string, Found>()
  for (const part of [positions.slice(0, NEWEST_ROUNDS), positions.slice(NEWEST_ROUNDS)]) {
    const asked = peerIds.filter((peerId) => !found.has(peerId))
    if (asked.length === 0) break
    for (const findings of await Promise.all(part.map((position) => look(position, asked)))) {
      for (const [peerId, finding] of findings) {
        if (!found.has(peerId)) found.set(peerId, finding)
      }
    }
  }
  return found
}

function recentRounds(newest: bigint): bigint[] {
  const count = newest + 1n < BigInt(ROUNDS_BACK) ? Number(newest + 1n) : ROUNDS_BACK
  return Array.from({ length: count }, (_, back) => newest - BigInt(back))
}

/** Null where the contract refuses: an earlier form of it asks for an account instead of a peer. */
async function unlessRefused<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    const isAway =
      error instanceof ContractFunctionExecutionError &&
      error.walk((cause) => cause instanceof HttpRequestError)
    if (error instanceof ContractFunctionExecutionError && !isAway) return null
    throw error
  }
}
