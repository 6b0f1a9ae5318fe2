import type { AlchemySignerWebClient, User } from '@account-kit/signer'
import { type Address, isAddress } from 'viem'
import type { LoginApi } from '@/lib/browser/api'
import type { PublicConfig } from '@/lib/page'
import { initCodeOf, ownersAccountClient } from '@/lib/wallet/alchemy-account'
import { canLimitToSwarm, deadlineIn, preparePermission } from '@/lib/wallet/alchemy-permission'
import { LogInStopped } from './faults'
import { ownerOf } from './signer'

export interface ActivationSteps {
  /** What is being waited for, in words. */
  say: (words: string) => void
  /** The key would be able to do anything with the account; resolves to whether the user agrees. */
  mayDoAnything: () => Promise<boolean>
}

/** Give this server's key the permission to act for the user's account. Throws what the services throw; see faults.ts. */
export async function activate(
  signer: AlchemySignerWebClient,
  user: User,
  config: PublicConfig,
  api: LoginApi,
  steps: ActivationSteps,
): Promise<void> {
  const { swarmContract, market, sessionDays } = config
  if (!swarmContract) {
    throw new LogInStopped("This login server doesn't know the swarm's contract. Set SWARM_CONTRACT_ADDRESS.")
  }
  steps.say('Telling this node who you are…')
  const { publicKey, orgId } = await api.getApiKey(await signer.stampWhoami())
  if (!isAddress(publicKey)) throw new LogInStopped('This login server made a key of another kind.')

  steps.say('Looking at your account on the chain…')
  const client = await ownersAccountClient(config, ownerOf(signer, user))
  const isLimitedToSwarm = await canLimitToSwarm(client)
  if (!isLimitedToSwarm && !(await steps.mayDoAnything())) {
    throw new LogInStopped('You did not let the node act for your account.')
  }
  const deadline = deadlineIn(sessionDays)
  const { typedData, digest } = await preparePermission(client, {
    ...{ publicKey: publicKey as Address, swarmContract, market, deadline, isLimitedToSwarm },
  })

  steps.say(`Signing the permission for ${sessionDays} days…`)
  const signature = await client.account.signTypedData(typedData)

  steps.say('Handing it to this node…')
  await api.setApiKeyActivated({
    orgId,
    apiKey: publicKey,
    accountAddress: client.account.address,
    initCode: await initCodeOf(client),
    deferredActionDigest: digest(signature),
  })
}
