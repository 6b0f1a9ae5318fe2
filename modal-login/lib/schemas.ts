import { isAddress } from 'viem'
import { z } from 'zod'

/** An integer in a body: a number, or its decimal digits (`parseJson` makes strings of long ones). */
function integer(least: bigint, most: bigint) {
  return z
    .union([z.int(), z.string().regex(/^-?\d{1,78}$/)])
    .transform((value) => BigInt(value))
    .refine((value) => least <= value && value <= most, `must be between ${least} and ${most}`)
}

const uint256 = integer(0n, 2n ** 256n - 1n)
const int256 = integer(-(2n ** 255n), 2n ** 255n - 1n)
const orgId = z.string().min(1).max(128)
const peerId = z.string().min(1).max(256)
const address = z.custom<`0x${string}`>(
  (value) => typeof value === 'string' && isAddress(value, { strict: false }),
  'must be an address',
)
const hex = z.custom<`0x${string}`>(
  (value) => typeof value === 'string' && /^0x(?:[0-9a-fA-F]{2})*$/.test(value),
  'must be 0x and hexadecimal digits',
)

export const getApiKeyBody = z.object({ whoamiStamp: z.unknown() })
export const activationBody = z.object({
  orgId,
  apiKey: z.string().min(1).max(256),
  accountAddress: address,
  initCode: hex,
  deferredActionDigest: hex,
})
export const userOnly = z.object({ orgId })
export const registerPeerBody = z.object({ orgId, peerId })
export const submitRewardBody = z.object({
  orgId,
  roundNumber: uint256,
  stageNumber: uint256,
  reward: int256,
  peerId,
})
export const submitWinnerBody = z.object({
  orgId,
  roundNumber: uint256,
  // Whether an empty or repeated list is a vote is for the contract to say.
  winners: z.array(peerId).max(100),
  peerId,
})
export const guessAnswerBody = z.object({
  orgId,
  peerId,
  gameId: uint256,
  clueId: uint256,
  choiceIdx: uint256,
  bet: uint256,
})
export const claimRewardBody = z.object({ orgId, gameId: uint256, peerId })
export const betTokenBalanceBody = z.object({ orgId: orgId.optional(), peerId })
