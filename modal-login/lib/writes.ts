import { type Address, type Hash, isAddressEqual, zeroHash } from 'viem'
import type { z } from 'zod'
import { SwarmCoordinatorAbi } from './abi/SwarmCoordinator'
import { type CallOn, registerPeer, swarmContract } from './calls'
import type { Context } from './context'
import { activeKey } from './login'
import { inTurn } from './queue'
import type { registerPeerBody } from './schemas'
import { ContractRefused } from './wallet/wallet'

/**
 * Make the call from the user's account, after all earlier calls of that account: several nodes under one login would
 * otherwise take each other's nonce. Throws UserNotFound, NoContract, ContractRefused, WalletUnavailable.
 */
export async function write(context: Context, orgId: string, call: CallOn): Promise<{ hash: Hash }> {
  const { accountAddress } = await activeKey(context, orgId)
  const line = `account ${context.settings.chainId} ${accountAddress.toLowerCase()}`
  return await inTurn(line, async () => {
    // Looked up again: the user may have logged out while this call stood in the line.
    const key = await activeKey(context, orgId)
    const wallet = await context.wallet()
    return { hash: await wallet.send(key, call(context.settings)) }
  })
}

/** As `write`; a peer that is this account's already is registered, and no transaction (hash 0) is needed. */
export async function register(
  context: Context,
  body: z.infer<typeof registerPeerBody>,
): Promise<{ hash: Hash }> {
  try {
    return await write(context, body.orgId, registerPeer(body))
  } catch (error) {
    const isTaken = error instanceof ContractRefused && error.errorName === 'PeerIdAlreadyRegistered'
    if (isTaken && (await isOwnPeer(context, body))) return { hash: zeroHash }
    throw error
  }
}

async function isOwnPeer(
  context: Context,
  { orgId, peerId }: z.infer<typeof registerPeerBody>,
): Promise<boolean> {
  const { accountAddress } = await activeKey(context, orgId)
  const owners: readonly Address[] = await context.chain.ask(() =>
    context.chain.client.readContract({
      address: swarmContract(context.settings),
      abi: SwarmCoordinatorAbi,
      functionName: 'getEoa',
      args: [[peerId]],
    }),
  )
  return owners[0] !== undefined && isAddressEqual(owners[0], accountAddress)
}
