import { LocalAccountSigner, type SmartAccountSigner } from '@aa-sdk/core'
import { type AlchemyTransport, alchemy, defineAlchemyChain, gensynTestnet } from '@account-kit/infra'
import { createModularAccountV2Client } from '@account-kit/smart-contracts'
import { type Address, type Chain, concatHex, defineChain, type Hex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { type SigningKey, WalletUnavailable } from './wallet'

/** What of the settings account-kit has to know; both the server's and the page's settings have it. */
export interface AlchemySettings {
  chainId: number
  rpcUrl: string
  alchemy: { apiKey?: string | null; policyId?: string | null; rpcUrl?: string | null } | null
}

/** Account-kit's client, as far as one user operation needs it. */
export interface AccountClient {
  sendUserOperation(args: {
    uo: { target: Address; data: Hex; value: bigint }
    overrides?: Partial<OperationOverrides>
  }): Promise<{ hash: Hex; request: Record<keyof OperationOverrides, Hex | bigint | number> }>
  getUserOperationReceipt(hash: Hex): Promise<OperationReceipt | null>
}

export interface OperationOverrides {
  nonce: bigint
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

export interface OperationReceipt {
  /** False when the account's call was refused; the operation itself is included all the same. */
  success: boolean
  reason?: string
  logs: unknown
  receipt: { transactionHash: Hex; logs?: unknown }
}

/** Makes the client that acts for this key; another one in tests, where another kind of account stands in. */
export type AccountClientMaker = (settings: AlchemySettings, key: SigningKey) => Promise<AccountClient>

/** The user's Modular Account v2, acted for by the key that the user gave a permission (a deferred action). */
export const modularAccountClient: AccountClientMaker = async (settings, key) => {
  const isPermitted = key.deferredActionDigest !== undefined && key.deferredActionDigest !== '0x'
  return await createModularAccountV2Client({
    mode: 'default',
    ...alchemyConnection(settings),
    signer: new LocalAccountSigner(privateKeyToAccount(key.privateKey)),
    accountAddress: key.accountAddress,
    initCode: key.initCode,
    deferredAction: isPermitted ? key.deferredActionDigest : undefined,
  })
}

/** The same account in its owner's hands, who may permit others: used in the browser. */
export async function ownersAccountClient(settings: AlchemySettings, owner: SmartAccountSigner) {
  return await createModularAccountV2Client({
    mode: 'default',
    ...alchemyConnection(settings),
    signer: owner,
  })
}

export type OwnersAccountClient = Awaited<ReturnType<typeof ownersAccountClient>>

/** What deploys the account, also when it is deployed already: a chain begun anew asks for it again. */
export async function initCodeOf({ account }: OwnersAccountClient): Promise<Hex> {
  return concatHex([await account.getFactoryAddress(), await account.getFactoryData()])
}

/** The chain, the way to Alchemy's bundler, and who pays. Throws WalletUnavailable with what is missing. */
export function alchemyConnection(settings: AlchemySettings): {
  chain: Chain
  transport: AlchemyTransport
  policyId: string
} {
  const { apiKey, policyId, rpcUrl } = settings.alchemy ?? {}
  if (!apiKey || !policyId) {
    throw new WalletUnavailable(
      'The browser login needs an Alchemy project: set NEXT_PUBLIC_ALCHEMY_API_KEY and ' +
        'NEXT_PUBLIC_PAYMASTER_POLICY_ID, then start the node again.',
    )
  }
  // Retried here, where it is harmless: every one of these requests may be repeated.
  const transport = alchemy(rpcUrl ? { rpcUrl, jwt: apiKey, retryCount: 2 } : { apiKey, retryCount: 2 })
  return { chain: alchemyChain(settings), transport, policyId }
}

function alchemyChain({ chainId, rpcUrl, alchemy: connection }: AlchemySettings): Chain {
  if (chainId === gensynTestnet.id) return gensynTestnet
  if (!connection?.rpcUrl) {
    throw new WalletUnavailable(
      `Account-kit doesn't know chain ${chainId}. Set ALCHEMY_RPC_URL to the address of its bundler.`,
    )
  }
  return defineAlchemyChain({
    chain: defineChain({
      id: chainId,
      name: `Chain ${chainId}`,
      nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
      rpcUrls: { default: { http: [rpcUrl] } },
    }),
    rpcBaseUrl: connection.rpcUrl,
  })
}
