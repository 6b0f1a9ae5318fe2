import {
  buildDeferredActionDigest,
  deferralActions,
  getDefaultAllowlistModuleAddress,
  getDefaultSingleSignerValidationModuleAddress,
  getDefaultTimeRangeModuleAddress,
  type Permission,
  PermissionBuilder,
  PermissionType,
} from '@account-kit/smart-contracts/experimental'
import { type Address, type Hex, toFunctionSelector } from 'viem'
import { PredictionMarketAbi } from '../abi/PredictionMarket'
import { SwarmCoordinatorAbi } from '../abi/SwarmCoordinator'
import type { OwnersAccountClient } from './alchemy-account'
import { WalletUnavailable } from './wallet'

const SWARM_FUNCTIONS = ['registerPeer', 'submitReward', 'submitWinners']
const MARKET_FUNCTIONS = ['guessAnswer', 'claimReward']
/** Account-kit keeps the upper half of the 32 bits for itself. */
const ENTITY_IDS = 2 ** 31 - 2

export interface PermissionRequest {
  /** Address of the key that shall act. */
  publicKey: Address
  swarmContract: Address
  market: Address | null
  /** When the permission ends, SECONDS since the epoch. */
  deadline: number
  /** False: everything that the account can do, until the deadline. */
  isLimitedToSwarm: boolean
}

/** When a permission given now for so many days ends; in seconds, as the account's contract counts. */
export function deadlineIn(days: number, nowMs = Date.now()): number {
  return Math.floor(nowMs / 1000 + days * 86_400)
}

/**
 * Whether a permission can be limited to the swarm's contracts on this chain: the module that checks it has to be there.
 * Throws WalletUnavailable when even a limit in time is not to be had.
 */
export async function canLimitToSwarm(client: OwnersAccountClient): Promise<boolean> {
  const { chain } = client
  const isThere = async (address: Address) => Boolean(await client.getCode({ address }))
  const [signs, expires, limits] = await Promise.all([
    isThere(getDefaultSingleSignerValidationModuleAddress(chain)),
    isThere(getDefaultTimeRangeModuleAddress(chain)),
    isThere(getDefaultAllowlistModuleAddress(chain)),
  ])
  if (signs && expires) return limits
  throw new WalletUnavailable(
    `Chain ${chain.id} has no contracts for keys that expire, so this server can't be given one.`,
  )
}

/** What the owner signs, and what becomes of it with the signature: the activation's `deferredActionDigest`. */
export async function preparePermission(client: OwnersAccountClient, request: PermissionRequest) {
  // Each login has an entity of its own, by chance: two servers of one user that log in before either has sent anything
  // would otherwise be given the same, and the second would take the first one's place.
  const entity = await deferralActions(client).getEntityIdAndNonce({
    entityId: 1 + Math.floor(Math.random() * (ENTITY_IDS - 1)),
    isGlobalValidation: !request.isLimitedToSwarm,
  })
  const { typedData, fullPreSignatureDeferredActionDigest } = await new PermissionBuilder({
    client,
    key: { publicKey: request.publicKey, type: 'secp256k1' },
    deadline: request.deadline,
    ...entity,
  })
    .addPermissions({ permissions: permissions(request) })
    .compileDeferred()
  return {
    typedData,
    digest: (sig: Hex) => buildDeferredActionDigest({ fullPreSignatureDeferredActionDigest, sig }),
  }
}

function permissions({ isLimitedToSwarm, swarmContract, market }: PermissionRequest): Permission[] {
  if (!isLimitedToSwarm) return [{ type: PermissionType.ROOT }]
  const only = (address: Address, functions: Hex[]): Permission => ({
    type: PermissionType.FUNCTIONS_ON_CONTRACT,
    data: { address, functions },
  })
  return [
    only(swarmContract, selectors(SwarmCoordinatorAbi, SWARM_FUNCTIONS)),
    ...(market ? [only(market, selectors(PredictionMarketAbi, MARKET_FUNCTIONS))] : []),
  ]
}

function selectors(abi: typeof SwarmCoordinatorAbi | typeof PredictionMarketAbi, names: string[]): Hex[] {
  return names.map((name) => {
    const found = abi.find((item) => item.type === 'function' && item.name === name)
    if (found?.type !== 'function') throw new Error(`The ABI has no function ${name}.`)
    return toFunctionSelector(found)
  })
}
