import { setTimeout as pause } from 'node:timers/promises'
import {
  BaseError,
  ExecutionRevertedError,
  encodeFunctionData,
  type Hash,
  type Hex,
  keccak256,
  type LocalAccount,
  NonceTooLowError,
  type TransactionReceipt,
  TransactionReceiptNotFoundError,
} from 'viem'
import type { Chain } from '../chain'
import { contractErrorName } from '../contract-errors'
import { currentFees, type Fees, raised } from './fees'
import { type ContractCall, ContractRefused, WalletUnavailable } from './wallet'

/** How long a transaction may wait for its block before it is replaced by one that offers more, and how often. */
export interface ReplacementPolicy {
  blockMs: number
  replacements: number
}

const REPLACEMENT: ReplacementPolicy = { blockMs: 15_000, replacements: 2 }
/** An estimate is exact for the state it was made on; another account's write may come in between. */
const GAS_MARGIN_PERCENT = 130n
/** How often a nonce that somebody else has taken (another server with the same key) is chosen anew. */
const NONCE_TRIES = 3

/**
 * Make the call from this account and wait until a block has it. Refusals show before anything is paid.
 * Throws ContractRefused, WalletUnavailable.
 */
export async function sendTransaction(
  chain: Chain,
  account: LocalAccount,
  call: ContractCall,
  policy: ReplacementPolicy = REPLACEMENT,
): Promise<Hash> {
  await chain.requireContract(call.address)
  for (let attempt = 1; ; attempt++) {
    const receipt = await new Sending(chain, account, call, policy).run()
    if (receipt?.status === 'success') return receipt.transactionHash
    if (receipt) {
      // Another transaction came first in the block; asked again now, the contract says what it has against ours.
      await new Sending(chain, account, call, policy).estimateGas()
      throw new ContractRefused('Reverted')
    }
    if (attempt === NONCE_TRIES)
      throw new WalletUnavailable(`Others keep sending from ${account.address}. Try again.`)
  }
}

/** One nonce and all that is sent with it. */
class Sending {
  private readonly data: Hex
  private readonly sent: Hash[] = []

  constructor(
    private readonly chain: Chain,
    private readonly account: LocalAccount,
    private readonly call: ContractCall,
    private readonly policy: ReplacementPolicy,
  ) {
    this.data = encodeFunctionData(call)
  }

  /** The receipt of whichever transaction got in; undefined when somebody else's took the nonce. */
  async run(): Promise<TransactionReceipt | undefined> {
    const { client } = this.chain
    const gas = ((await this.estimateGas()) * GAS_MARGIN_PERCENT) / 100n
    const nonce = await this.chain.ask(() =>
      client.getTransactionCount({ address: this.account.address, blockTag: 'pending' }),
    )
    let fees = await currentFees(this.chain)
    for (let replacement = 0; replacement <= this.policy.replacements; replacement++) {
      if (replacement > 0) fees = raised(fees, await currentFees(this.chain))
      const isOurs = await this.broadcast(gas, nonce, fees)
      if (!isOurs) return await this.receipt()
      const receipt = await this.waitForBlock(nonce)
      if (receipt !== 'waiting') return receipt
    }
    throw new WalletUnavailable(
      `Transaction ${this.sent.at(-1)} has waited for its block for ` +
        `${(this.policy.blockMs * (this.policy.replacements + 1)) / 1000} s, its fee raised twice. Try again later.`,
    )
  }

  /** Throws ContractRefused when the contract would refuse the call now. */
  async estimateGas(): Promise<bigint> {
    const { address: to } = this.call
    try {
      // The whole account would let viem fill in what this server decides by itself.
      return await this.chain.client.estimateGas({ account: this.account.address, to, data: this.data })
    } catch (error) {
      throw this.explained(error)
    }
  }

  /** Sign and send; false when the nonce turns out to be used. Sending the same bytes again is harmless. */
  private async broadcast(gas: bigint, nonce: number, fees: Fees): Promise<boolean> {
    const { chain, account, call, data } = this
    const chainId = await chain.ask(() => chain.client.getChainId())
    const raw = await account.signTransaction({
      type: 'eip1559',
      ...{ chainId, nonce, gas, to: call.address, data },
      ...fees,
    })
    const hash = keccak256(raw)
    try {
      await chain.client.sendRawTransaction({ serializedTransaction: raw })
    } catch (error) {
      if (isNonceUsed(error)) return false
      if (!isAlreadyThere(error)) throw this.explained(error)
    }
    if (!this.sent.includes(hash)) this.sent.push(hash)
    return true
  }

  private async waitForBlock(nonce: number): Promise<TransactionReceipt | undefined | 'waiting'> {
    const end = performance.now() + this.policy.blockMs
    for (let wait = 50; ; wait = Math.min(2 * wait, 1_000)) {
      const receipt = await this.receipt()
      if (receipt) return receipt
      const used = await this.chain.ask(() =>
        this.chain.client.getTransactionCount({ address: this.account.address }),
      )
      // The nonce is in a block: it was ours in the meantime, or somebody else's.
      if (used > nonce) return await this.receipt()
      if (performance.now() >= end) return 'waiting'
      await pause(Math.min(wait, Math.max(end - performance.now(), 1)))
    }
  }

  /** Of any of the transactions sent with this nonce: a replaced one may still have been the quicker. */
  private async receipt(): Promise<TransactionReceipt | undefined> {
    for (const hash of this.sent) {
      const found = await this.chain.ask(() => receiptIfThere(this.chain, hash))
      if (found) return found
    }
    return undefined
  }

  private explained(error: unknown): Error {
    const name = contractErrorName(error)
    if (name) return new ContractRefused(name)
    const causes = error instanceof BaseError ? error : undefined
    if (causes && /insufficient funds/i.test(causes.details || causes.shortMessage)) {
      return new WalletUnavailable(
        `Account ${this.account.address} can't pay this chain's fees. Send it some money.`,
      )
    }
    if (causes?.walk((cause) => cause instanceof ExecutionRevertedError))
      return new ContractRefused('Reverted')
    return this.chain.unavailable(error)
  }
}

async function receiptIfThere(chain: Chain, hash: Hash): Promise<TransactionReceipt | undefined> {
  try {
    return await chain.client.getTransactionReceipt({ hash })
  } catch (error) {
    if (error instanceof TransactionReceiptNotFoundError) return undefined
    throw error
  }
}

function isNonceUsed(error: unknown): boolean {
  if (!(error instanceof BaseError)) return false
  const text = error.message.toLowerCase()
  return (
    error.walk((cause) => cause instanceof NonceTooLowError) !== null ||
    text.includes('nonce too low') ||
    text.includes('replacement transaction underpriced')
  )
}

function isAlreadyThere(error: unknown): boolean {
  return error instanceof BaseError && /already (known|imported)|known transaction/i.test(error.message)
}
