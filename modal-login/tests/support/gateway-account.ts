import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { getEntryPoint, LocalAccountSigner, toSmartContractAccount } from '@aa-sdk/core'
import { createAlchemySmartAccountClient } from '@account-kit/infra'
import { type Abi, type Address, concatHex, encodeFunctionData, type Hex, parseAbi } from 'viem'
import { entryPoint07Address } from 'viem/account-abstraction'
import { privateKeyToAccount } from 'viem/accounts'
import { type AccountClientMaker, alchemyConnection } from '@/lib/wallet/alchemy-account'
import type { SigningKey } from '@/lib/wallet/wallet'
import { type Anvil, OWNER } from './anvil'
import { NO_FEES } from './gateway'

/** Anvil has it from its first block. */
const CREATE2_DEPLOYER: Address = '0x4e59b44847b379578588920cA78FbF26c0B4956C'
/** With it the entry point gets the address that it has on every chain. */
const ENTRY_POINT_SALT: Hex = '0x90d8084deab30c2a37c45e8d47f49f2f7965183cb6990a98943ef94940681de3'
const SIMPLE_ACCOUNT = parseAbi(['function execute(address dest, uint256 value, bytes func)'])
const FACTORY = parseAbi([
  'function createAccount(address owner, uint256 salt) returns (address)',
  'function getAddress(address owner, uint256 salt) view returns (address)',
])

/** The entry point at its usual address, and a factory of accounts with one owner (ERC-4337's sample). */
export async function deployEntryPoint(anvil: Anvil): Promise<Address> {
  await anvil.client.setBalance({ address: OWNER.address, value: 10n ** 21n })
  const hash = await anvil.client.sendTransaction({
    account: OWNER,
    chain: null,
    to: CREATE2_DEPLOYER,
    data: concatHex([ENTRY_POINT_SALT, artifact('EntryPoint').bytecode]),
    gas: 20_000_000n,
    ...NO_FEES,
  })
  await anvil.client.waitForTransactionReceipt({ hash })
  if (!(await anvil.client.getCode({ address: entryPoint07Address }))) throw new Error('No entry point.')
  const { abi, bytecode } = artifact('SimpleAccountFactory')
  const deployed = await anvil.client.deployContract({
    ...{ abi, bytecode, account: OWNER, chain: null, ...NO_FEES },
    args: [entryPoint07Address],
  })
  const { contractAddress } = await anvil.client.waitForTransactionReceipt({ hash: deployed })
  if (!contractAddress) throw new Error('No factory.')
  return contractAddress
}

/** A key with everything that an activation tells, for an account that its first operation makes. */
export async function permittedKey(anvil: Anvil, factory: Address, privateKey: Hex): Promise<SigningKey> {
  const owner = privateKeyToAccount(privateKey)
  const accountAddress = await anvil.client.readContract({
    ...{ address: factory, abi: FACTORY, functionName: 'getAddress', args: [owner.address, 0n] },
  })
  const init = encodeFunctionData({ abi: FACTORY, functionName: 'createAccount', args: [owner.address, 0n] })
  return {
    ...{ publicKey: owner.address, privateKey, createdAt: new Date().toISOString(), activated: true },
    ...{ accountAddress, initCode: concatHex([factory, init]), deferredActionDigest: '0x' },
  }
}

/**
 * Stands in for the Modular Account, whose contracts no package has: the key itself is the account's owner. Client,
 * transport, gas manager and signing are account-kit's own.
 */
export const simpleAccountClient: AccountClientMaker = async (settings, key) => {
  const connection = alchemyConnection(settings)
  const signer = new LocalAccountSigner(privateKeyToAccount(key.privateKey))
  const account = await toSmartContractAccount({
    source: 'SimpleAccount',
    ...{ transport: connection.transport, chain: connection.chain },
    entryPoint: getEntryPoint(connection.chain, { version: '0.7.0' }),
    accountAddress: key.accountAddress,
    getAccountInitCode: async () => key.initCode ?? '0x',
    getDummySignature: () => `0x${'ff'.repeat(31)}0${'7'.repeat(1)}${'aa'.repeat(32)}1c`,
    encodeExecute: async ({ target, value, data }) =>
      encodeFunctionData({ abi: SIMPLE_ACCOUNT, functionName: 'execute', args: [target, value ?? 0n, data] }),
    signMessage: ({ message }) => signer.signMessage(message),
    signTypedData: (typedData) => signer.signTypedData(typedData),
  })
  return createAlchemySmartAccountClient({ ...connection, account: { ...account, getSigner: () => signer } })
}

function artifact(name: string): { abi: Abi; bytecode: Hex } {
  const file = createRequire(import.meta.url).resolve(`@account-abstraction/contracts/artifacts/${name}.json`)
  return JSON.parse(readFileSync(file, 'utf8'))
}
