import { type Address, type Hash, parseGwei } from 'viem'
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { Chain } from '@/lib/chain'
import { type ReplacementPolicy, sendTransaction } from '@/lib/wallet/transaction'
import { ContractRefused, WalletUnavailable } from '@/lib/wallet/wallet'
import { Anvil, CHAIN_ID, OWNER } from '../support/anvil'

const REPLACEMENT: ReplacementPolicy = { blockMs: 400, replacements: 2 }

let peers = 0
const newPeer = () => `QmPeer${++peers}`

/** Tests of a chain that is started with these arguments. */
function onChain(name: string, args: string[] | undefined, tests: (on: () => OnChain) => void): void {
  describe(name, () => {
    let on: OnChain
    beforeAll(async () => {
      const anvil = await Anvil.start(args ? { args } : {})
      on = new OnChain(anvil, await anvil.deploySwarm())
    })
    afterAll(async () => {
      await on.anvil.stop()
    })
    beforeEach(async () => {
      await on.anvil.client.setAutomine(true)
    })
    tests(() => on)
  })
}

class OnChain {
  private readonly chain: Chain

  constructor(
    readonly anvil: Anvil,
    readonly swarm: Address,
  ) {
    this.chain = new Chain({ chainId: CHAIN_ID, rpcUrl: anvil.rpcUrl })
  }

  register(account: PrivateKeyAccount, peerId: string, policy = REPLACEMENT): Promise<Hash> {
    const call = {
      address: this.swarm,
      abi: SwarmCoordinatorAbi,
      functionName: 'registerPeer',
      args: [peerId],
    }
    return sendTransaction(this.chain, account, call, policy)
  }

  async newAccount(wei: bigint): Promise<PrivateKeyAccount> {
    const account = privateKeyToAccount(generatePrivateKey())
    await this.anvil.client.setBalance({ address: account.address, value: wei })
    return account
  }

  /** What waits for a block from this account: hash and highest fee. */
  async waiting({ address }: PrivateKeyAccount): Promise<{ hash: Hash; maxFeePerGas: bigint }[]> {
    const { pending } = await this.anvil.client.getTxpoolContent()
    const own = pending[address.toLowerCase() as Address] ?? pending[address] ?? {}
    return Object.values(own).map(({ hash, maxFeePerGas }) => ({
      hash,
      maxFeePerGas: BigInt(maxFeePerGas ?? 0),
    }))
  }

  /** The transaction that waits once `isIt` says that it is the one. */
  waitFor(
    account: PrivateKeyAccount,
    isIt: (fee: bigint) => boolean,
  ): Promise<{ hash: Hash; maxFeePerGas: bigint }> {
    return vi.waitFor(
      async () => {
        const [found] = await this.waiting(account)
        if (!found || !isIt(found.maxFeePerGas)) throw new Error('not yet')
        return found
      },
      { timeout: 10_000, interval: 20 },
    )
  }
}

onChain('on a chain with fees', [], (on) => {
  it('pays what the chain asks', async () => {
    const account = await on().newAccount(parseGwei('1000000000'))
    const hash = await on().register(account, newPeer())
    const { status, effectiveGasPrice } = await on().anvil.client.getTransactionReceipt({ hash })
    expect(status).toBe('success')
    expect(effectiveGasPrice).toBeGreaterThan(0n)
  })

  it('replaces a transaction that waits too long by one with the same nonce that offers more', async () => {
    const here = on()
    const { anvil } = here
    const account = await here.newAccount(parseGwei('1000000000'))
    const peerId = newPeer()
    await anvil.client.setAutomine(false)
    const sending = here.register(account, peerId, { ...REPLACEMENT, replacements: 20 })
    const first = await here.waitFor(account, () => true)
    const second = await here.waitFor(account, (fee) => fee > first.maxFeePerGas)
    expect(second.maxFeePerGas * 10n).toBeGreaterThanOrEqual(first.maxFeePerGas * 11n)
    expect(await here.waiting(account)).toHaveLength(1)
    await anvil.client.mine({ blocks: 1 })
    const hash = await sending
    expect(hash).not.toBe(first.hash)
    expect((await anvil.client.getTransaction({ hash })).nonce).toBe(0)
    expect(await anvil.ownerOf(here.swarm, peerId)).toBe(account.address)
  })

  it('gives up after two replacements, saying that it waited', async () => {
    const account = await on().newAccount(parseGwei('1000000000'))
    await on().anvil.client.setAutomine(false)
    const failure = await on()
      .register(account, newPeer())
      .catch((error: Error) => error)
    expect(failure).toBeInstanceOf(WalletUnavailable)
    expect(String(failure)).toMatch(/waited for its block for 1.2 s, its fee raised twice/)
    await on().anvil.client.mine({ blocks: 1 })
    expect(await on().anvil.client.getTransactionCount({ address: account.address })).toBe(1)
  })

  it('says that an account without money needs some', async () => {
    const account = await on().newAccount(0n)
    const failure = on().register(account, newPeer())
    await expect(failure).rejects.toThrow(`Account ${account.address} can't pay this chain's fees.`)
  })

  it('finds the contract’s reason when another transaction came first in the block', async () => {
    const { anvil, swarm } = on()
    const account = await on().newAccount(10n ** 18n)
    const peerId = newPeer()
    await anvil.client.setAutomine(false)
    const sending = on().register(account, peerId, { blockMs: 10_000, replacements: 0 })
    const outcome = expect(sending).rejects.toEqual(new ContractRefused('PeerIdAlreadyRegistered'))
    const { maxFeePerGas } = await on().waitFor(account, () => true)
    await anvil.client.writeContract({
      ...{ address: swarm, abi: SwarmCoordinatorAbi, functionName: 'registerPeer', args: [peerId] },
      ...{ account: OWNER, chain: null, gas: 500_000n },
      // Blocks are filled by the tip.
      ...{ maxFeePerGas: 20n * maxFeePerGas, maxPriorityFeePerGas: 10n * maxFeePerGas },
    })
    await anvil.client.mine({ blocks: 1 })
    await outcome
    expect(await anvil.ownerOf(swarm, peerId)).toBe(OWNER.address)
  })
})

onChain('on a chain without fees', undefined, (on) => {
  it('needs no money, and offers none', async () => {
    const account = await on().newAccount(0n)
    const hash = await on().register(account, newPeer())
    expect(await on().anvil.client.getTransaction({ hash })).toMatchObject({
      maxFeePerGas: 0n,
      maxPriorityFeePerGas: 0n,
    })
  })

  it('sends the same transaction again when it waits too long: an account without money has nothing to raise', async () => {
    const account = await on().newAccount(0n)
    await on().anvil.client.setAutomine(false)
    const sending = on().register(account, newPeer(), { blockMs: 100, replacements: 100 })
    const { hash } = await on().waitFor(account, () => true)
    await on().anvil.client.dropTransaction({ hash })
    // Only sending it again brings it back.
    expect(await on().waitFor(account, () => true)).toMatchObject({ hash, maxFeePerGas: 0n })
    await on().anvil.client.mine({ blocks: 1 })
    expect(await sending).toBe(hash)
  })

  it('takes the next nonce when another server with the same key has taken this one', async () => {
    const account = await on().newAccount(0n)
    const ids = [newPeer(), newPeer()]
    const hashes = await Promise.all(ids.map((peerId) => on().register(account, peerId)))
    expect(new Set(hashes).size).toBe(2)
    expect(
      await on()
        .anvil.reads(on().swarm)
        .getPeerId([[account.address]]),
    ).toEqual([expect.arrayContaining(ids)])
  })

  it('signs nothing that the contract would refuse', async () => {
    const account = await on().newAccount(0n)
    const peerId = newPeer()
    await on().register(account, peerId)
    await expect(on().register(account, peerId)).rejects.toEqual(
      new ContractRefused('PeerIdAlreadyRegistered'),
    )
    expect(await on().anvil.client.getTransactionCount({ address: account.address })).toBe(1)
  })
})
