import { LocalAccountSigner } from '@aa-sdk/core'
import {
  getDefaultAllowlistModuleAddress,
  getDefaultSingleSignerValidationModuleAddress,
  getDefaultTimeRangeModuleAddress,
  semiModularAccountBytecodeAbi,
} from '@account-kit/smart-contracts/experimental'
import {
  type Address,
  decodeFunctionData,
  type Hex,
  recoverTypedDataAddress,
  slice,
  toFunctionSelector,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { PredictionMarketAbi } from '@/lib/abi/PredictionMarket'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { readSettings } from '@/lib/settings'
import { AlchemyWallet } from '@/lib/wallet/alchemy'
import {
  initCodeOf,
  modularAccountClient,
  type OwnersAccountClient,
  ownersAccountClient,
} from '@/lib/wallet/alchemy-account'
import { canLimitToSwarm, deadlineIn, preparePermission } from '@/lib/wallet/alchemy-permission'
import { permissionDeadline } from '@/lib/wallet/permission-deadline'
import type { SigningKey } from '@/lib/wallet/wallet'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { Gateway } from '../support/gateway'
import { deployEntryPoint } from '../support/gateway-account'

const SWARM: Address = '0x1111111111111111111111111111111111111111'
const MARKET: Address = '0x2222222222222222222222222222222222222222'
const owner = privateKeyToAccount(`0x${'4'.padStart(64, '0')}`)

let anvil: Anvil
let gateway: Gateway
let client: OwnersAccountClient
let wallet: AlchemyWallet

beforeAll(async () => {
  anvil = await Anvil.start()
  await deployEntryPoint(anvil)
  gateway = await Gateway.start(anvil)
  const settings = readSettings({
    LOGIN_WALLET: 'alchemy',
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: anvil.rpcUrl,
    ALCHEMY_RPC_URL: gateway.url,
    NEXT_PUBLIC_ALCHEMY_API_KEY: 'the-key',
    NEXT_PUBLIC_PAYMASTER_POLICY_ID: 'the-policy',
  })
  client = await ownersAccountClient(settings, new LocalAccountSigner(owner))
  wallet = new AlchemyWallet(settings, modularAccountClient, { blockMs: 300, replacements: 2 })
})
afterAll(async () => {
  await gateway?.stop()
  await anvil?.stop()
})

/** A key with the permission as the page would give it. */
async function permitted({ days = 30, isLimitedToSwarm = true } = {}) {
  const key = await wallet.newKey()
  const prepared = await preparePermission(client, {
    ...{ publicKey: key.publicKey as Address, swarmContract: SWARM, market: MARKET },
    ...{ deadline: deadlineIn(days), isLimitedToSwarm },
  })
  const signature = await client.account.signTypedData(prepared.typedData)
  const activated: SigningKey = {
    ...key,
    activated: true,
    accountAddress: client.account.address,
    initCode: await initCodeOf(client),
    deferredActionDigest: prepared.digest(signature),
  }
  return { key: activated, typedData: prepared.typedData, signature }
}

describe('the permission', () => {
  test('ends some 30 days from now, told in seconds, in the typed data, the call and the digest', async () => {
    const { key, typedData } = await permitted()
    const { deadline, call } = typedData.message
    const now = Date.now() / 1000
    expect(deadline - now).toBeGreaterThan(30 * 86_400 - 60)
    expect(deadline - now).toBeLessThanOrEqual(30 * 86_400)
    expect(permissionDeadline(key.deferredActionDigest as Hex)).toBe(deadline)

    const hooks = hooksIn(call)
    const timeRange = hooks.find((hook) => addressOf(hook) === timeRangeModule())
    // After module (20 bytes), entity (4) and flags (1): entity, valid until, valid after, a word each.
    expect(BigInt(slice(timeRange as Hex, 25 + 32, 25 + 64))).toBe(BigInt(deadline))
    expect(BigInt(slice(timeRange as Hex, 25 + 64, 25 + 96))).toBe(0n)
  })

  test('names the key, the two contracts and only the functions that a node calls', async () => {
    const { key, typedData } = await permitted()
    const installation = decodeFunctionData({
      abi: semiModularAccountBytecodeAbi,
      data: typedData.message.call,
    })
    expect(installation.functionName).toBe('installValidation')
    expect(JSON.stringify(installation.args).toLowerCase()).toContain(key.publicKey.slice(2).toLowerCase())

    const allowed =
      hooksIn(typedData.message.call).find((hook) => addressOf(hook) === allowlistModule()) ?? '0x'
    for (const address of [SWARM, MARKET]) expect(allowed).toContain(address.slice(2))
    const isAllowed = (name: string) => allowed.includes(selector(name).slice(2))
    expect(['registerPeer', 'submitReward', 'submitWinners'].map(isAllowed)).toEqual([true, true, true])
    expect(['guessAnswer', 'claimReward'].map(isAllowed)).toEqual([true, true])
    const others = ['addBootnodes', 'updateStageAndRound', 'grantRole', 'revealAnswer', 'transferOwnership']
    expect(others.filter(isAllowed)).toEqual([])
  })

  test('is signed by the owner for this account on this chain', async () => {
    const { typedData, signature } = await permitted()
    expect(typedData.domain).toEqual({ chainId: CHAIN_ID, verifyingContract: client.account.address })
    // The first byte says what kind of signature follows.
    const signer = await recoverTypedDataAddress({ ...typedData, signature: slice(signature, 1) })
    expect(signer).toBe(owner.address)
  })

  test('has a place of its own for each login, so that two servers of one user don’t displace each other', async () => {
    const nonces = [(await permitted()).typedData.message.nonce, (await permitted()).typedData.message.nonce]
    expect(nonces[0]).not.toBe(nonces[1])
  })

  test('over everything has no list of contracts, and ends in time all the same', async () => {
    const { typedData } = await permitted({ isLimitedToSwarm: false })
    const modules = hooksIn(typedData.message.call).map(addressOf)
    expect(modules).toEqual([timeRangeModule()])
  })

  test('that has ended is not even tried: log in again', async () => {
    const { key } = await permitted()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31 * 86_400_000 })
    onTestFinished(() => void vi.useRealTimers())
    const sending = wallet.send(key, {
      ...{ address: SWARM, abi: SwarmCoordinatorAbi, functionName: 'registerPeer', args: ['peer'] },
    })
    await expect(sending).rejects.toThrow('The login has expired. Log in again')
  })
})

test('a replacement of the very first operation carries the permission and what makes the account', async () => {
  const { key } = await permitted()
  gateway.suggestedFee = 10n
  gateway.leastFee = 10n ** 18n
  const sending = wallet.send(key, {
    ...{ address: SWARM, abi: SwarmCoordinatorAbi, functionName: 'registerPeer', args: ['peer'] },
  })
  await expect(sending).rejects.toThrow('was not included')

  expect(gateway.operations).toHaveLength(3)
  const permission = key.deferredActionDigest as Hex
  for (const operation of gateway.operations) {
    // The nonce is in the digest's front; what is signed over it comes in the signature.
    expect(operation.signature).toContain(permission.slice(2 + 2 + 64))
    expect(operation.nonce).toBe(gateway.operations[0]?.nonce)
    expect(operation.factoryData).toBe(slice(key.initCode as Hex, 20))
  }
})

describe('the contracts that a permission needs', () => {
  const code = '0x00'
  test('missing altogether: a sentence, before anything is signed', async () => {
    await expect(canLimitToSwarm(client)).rejects.toThrow('has no contracts for keys that expire')
  })

  test('without the one that checks contracts the user has to be asked', async () => {
    for (const address of [signerModule(), timeRangeModule()])
      await anvil.client.setCode({ address, bytecode: code })
    expect(await canLimitToSwarm(client)).toBe(false)
  })

  test('with it the permission is limited', async () => {
    await anvil.client.setCode({ address: allowlistModule(), bytecode: code })
    expect(await canLimitToSwarm(client)).toBe(true)
  })
})

const lower = (address: Address) => address.toLowerCase() as Address
const timeRangeModule = () => lower(getDefaultTimeRangeModuleAddress(client.chain))
const allowlistModule = () => lower(getDefaultAllowlistModuleAddress(client.chain))
const signerModule = () => lower(getDefaultSingleSignerValidationModuleAddress(client.chain))

function hooksIn(call: Hex): Hex[] {
  const { args } = decodeFunctionData({ abi: semiModularAccountBytecodeAbi, data: call })
  return (args as unknown as [unknown, unknown, unknown, Hex[]])[3]
}

function addressOf(hook: Hex): Address {
  return lower(slice(hook, 0, 20))
}

function selector(name: string): Hex {
  const found = [...SwarmCoordinatorAbi, ...PredictionMarketAbi].find(
    (item) => item.type === 'function' && item.name === name,
  )
  if (found?.type !== 'function') throw new Error(`There is no function ${name}.`)
  return toFunctionSelector(found)
}
