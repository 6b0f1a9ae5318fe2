import type { Address } from 'viem'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { inTurn } from '@/lib/queue'
import { readSettings, type Settings } from '@/lib/settings'
import { AlchemyWallet } from '@/lib/wallet/alchemy'
import { type ContractCall, ContractRefused, type SigningKey, WalletUnavailable } from '@/lib/wallet/wallet'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { Gateway } from '../support/gateway'
import { deployEntryPoint, permittedKey, simpleAccountClient } from '../support/gateway-account'

const GWEI = 10n ** 9n
const FIRST_KEY = `0x${'2'.padStart(64, '0')}` as const
const SECOND_KEY = `0x${'3'.padStart(64, '0')}` as const

let anvil: Anvil
let gateway: Gateway
let swarm: Address
let factory: Address
let key: SigningKey
let wallet: AlchemyWallet

beforeAll(async () => {
  anvil = await Anvil.start()
  swarm = await anvil.deploySwarm()
  factory = await deployEntryPoint(anvil)
})
afterAll(async () => {
  await anvil?.stop()
})
beforeEach(async () => {
  gateway = await Gateway.start(anvil)
  key = await permittedKey(anvil, factory, FIRST_KEY)
  wallet = new AlchemyWallet(settings(gateway.url), simpleAccountClient, { blockMs: 1_000, replacements: 2 })
  return () => gateway.stop()
})

function settings(rpcUrl: string, environ: Record<string, string> = {}): Settings {
  return readSettings({
    LOGIN_WALLET: 'alchemy',
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: rpcUrl,
    ALCHEMY_RPC_URL: rpcUrl,
    NEXT_PUBLIC_ALCHEMY_API_KEY: 'the-key',
    NEXT_PUBLIC_PAYMASTER_POLICY_ID: 'the-policy',
    ...environ,
  })
}

function call(functionName: string, ...args: unknown[]): ContractCall {
  return { address: swarm, abi: SwarmCoordinatorAbi, functionName, args }
}

function read(functionName: 'getEoa' | 'getPeerId' | 'getTotalRewards', args: never) {
  return anvil.client.readContract({ address: swarm, abi: SwarmCoordinatorAbi, functionName, args })
}

async function thrown(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('It was expected to fail.')
}

describe('operations through account-kit’s client', () => {
  test('the first one makes the account and registers its peer; sponsored, with the API key as bearer', async () => {
    const hash = await wallet.send(key, call('registerPeer', 'peer-1'))

    expect(await read('getEoa', [['peer-1']] as never)).toEqual([key.accountAddress])
    expect(gateway.operations[0]?.factory?.toLowerCase()).toBe(factory.toLowerCase())
    const sponsored = gateway.asked.find(({ method }) => method === 'alchemy_requestGasAndPaymasterAndData')
    expect(sponsored?.params[0]).toMatchObject({ policyId: 'the-policy' })
    expect(new Set(gateway.asked.map(({ authorization }) => authorization))).toEqual(
      new Set(['Bearer the-key']),
    )
    const receipt = gateway.asked.find(({ method }) => method === 'eth_getUserOperationReceipt')
    expect(receipt?.params).toEqual([hash])
  })

  test('a reward is submitted by the account that exists', async () => {
    await wallet.send(key, call('submitReward', 0n, 0n, 7n, 'peer-1'))
    expect(await read('getTotalRewards', [['peer-1']] as never)).toEqual([7n])
    expect(gateway.operations[0]?.factory).toBeUndefined()
  })

  test('a refusal has the contract’s name for it, and nothing is sent', async () => {
    const error = await thrown(wallet.send(key, call('submitReward', 0n, 0n, 7n, 'peer-1')))
    expect(error).toBeInstanceOf(ContractRefused)
    expect(error).toMatchObject({ errorName: 'RewardAlreadySubmitted' })
    expect(gateway.operations).toEqual([])
  })

  test('a refusal that shows only on the chain has its name too', async () => {
    // Its account doesn't exist yet, so that the gateway can't try the call beforehand.
    const other = await permittedKey(anvil, factory, SECOND_KEY)
    const error = await thrown(wallet.send(other, call('registerPeer', 'peer-1')))
    expect(error).toMatchObject({ errorName: 'PeerIdAlreadyRegistered' })
    expect(gateway.operations).toHaveLength(1)
  })

  test('two at once, one after the other in the account’s line, both get in', async () => {
    await Promise.all(
      ['peer-2', 'peer-3'].map((peer) =>
        inTurn(`account ${key.accountAddress}`, () => wallet.send(key, call('registerPeer', peer))),
      ),
    )
    expect(await read('getEoa', [['peer-2', 'peer-3']] as never)).toEqual([
      key.accountAddress,
      key.accountAddress,
    ])
  })
})

describe('a stuck operation', () => {
  beforeEach(async () => {
    await anvil.client.setBalance({ address: key.accountAddress as Address, value: 10n ** 18n })
    gateway.suggestedFee = GWEI
  })

  test('is replaced by one that offers more for the same nonce, and the hash is that of the one that got in', async () => {
    gateway.leastFee = 3n * GWEI
    const hash = await wallet.send(key, call('registerPeer', 'peer-stuck'))

    expect(await read('getEoa', [['peer-stuck']] as never)).toEqual([key.accountAddress])
    const offers = gateway.operations.map(({ nonce, maxFeePerGas }) => [nonce, BigInt(maxFeePerGas)])
    const nonce = gateway.operations[0]?.nonce
    // Account-kit itself begins at one and a half times what is suggested.
    expect(offers).toEqual([1_500n, 2_250n, 3_375n].map((milliGwei) => [nonce, (milliGwei * GWEI) / 1_000n]))
    const last = gateway.asked.filter(({ method }) => method === 'eth_getUserOperationReceipt').at(-1)
    expect(last?.params).toEqual([hash])
  })

  test('is given up after two replacements, with a sentence', async () => {
    gateway.leastFee = 100n * GWEI
    const error = await thrown(wallet.send(key, call('registerPeer', 'peer-never')))
    expect(error).toBeInstanceOf(WalletUnavailable)
    expect(error).toMatchObject({ message: expect.stringContaining('was not included within 3 s') })
    expect(gateway.operations).toHaveLength(3)
  })
})

describe('what can be the matter', () => {
  test('the bundler is away', async () => {
    await gateway.stop()
    const error = await thrown(wallet.send(key, call('registerPeer', 'peer-4')))
    expect(error).toBeInstanceOf(WalletUnavailable)
    expect(error).toMatchObject({
      message: "Alchemy's bundler does not answer. Is this machine online?",
    })
  })

  test('the account doesn’t know the key', async () => {
    const stranger = { ...key, privateKey: SECOND_KEY }
    const error = await thrown(wallet.send(stranger, call('registerPeer', 'peer-4')))
    expect(error).toMatchObject({ message: expect.stringContaining('Log in again') })
    expect(await read('getEoa', [['peer-4']] as never)).toEqual([
      '0x0000000000000000000000000000000000000000',
    ])
  })

  test('there is no Alchemy project', async () => {
    const without = new AlchemyWallet(settings(gateway.url, { NEXT_PUBLIC_PAYMASTER_POLICY_ID: '' }))
    const error = await thrown(without.send(key, call('registerPeer', 'peer-4')))
    expect(error).toMatchObject({ message: expect.stringContaining('NEXT_PUBLIC_PAYMASTER_POLICY_ID') })
  })
})
