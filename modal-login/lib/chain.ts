import { type Address, BaseError, createPublicClient, HttpRequestError, http, type PublicClient } from 'viem'
import { processWide } from './process-wide'
import type { Settings } from './settings'
import { WalletUnavailable } from './wallet/wallet'

/** A hub lets 40 calls and 256 KiB through in one request; full bundles of reads have some 50 KiB each. */
const RPC_BATCH = 4
/** Calldata bytes in one bundle of reads: some thirty reads, far below what a node lets one `eth_call` use. */
const READ_BUNDLE_BYTES = 8_192
const ANSWER_TIMEOUT_MS = 10_000

export type ChainSettings = Pick<Settings, 'chainId' | 'rpcUrl'>

/** The chain behind SWARM_RPC_URL, once it is known to be the one that it should be. */
export class Chain {
  readonly client: PublicClient
  private isChecked = false
  private readonly contracts = new Set<Address>()

  constructor(private readonly settings: ChainSettings) {
    this.client = createPublicClient({
      transport: http(settings.rpcUrl, {
        batch: { batchSize: RPC_BATCH },
        timeout: ANSWER_TIMEOUT_MS,
        retryCount: 1,
      }),
      // Reads that are asked for together become one; no contract has to be there for it.
      batch: { multicall: { deployless: true, batchSize: READ_BUNDLE_BYTES } },
      cacheTime: 0,
    })
  }

  /** Throws WalletUnavailable when another chain, or none, answers. */
  async requireChain(): Promise<void> {
    if (this.isChecked) return
    const found = await this.ask(() => this.client.getChainId())
    if (found !== this.settings.chainId) {
      throw new WalletUnavailable(
        `The chain at ${this.place} is number ${found}, not ${this.settings.chainId}. Give SWARM_RPC_URL an ` +
          'address of the right chain.',
      )
    }
    this.isChecked = true
  }

  /** Throws WalletUnavailable unless there is a contract: a transaction to nobody would succeed and do nothing. */
  async requireContract(address: Address): Promise<void> {
    await this.requireChain()
    if (this.contracts.has(address)) return
    if (!(await this.ask(() => this.client.getCode({ address })))) {
      throw new WalletUnavailable(
        `There is no contract at ${address} on chain ${this.settings.chainId}. Is that the address of this swarm?`,
      )
    }
    this.contracts.add(address)
  }

  /** The answer of a question that no contract can refuse. Throws WalletUnavailable. */
  async ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await question()
    } catch (error) {
      throw this.unavailable(error)
    }
  }

  /** What a failed question means, in a sentence. The address is cut to its origin: its path may hold an API key. */
  unavailable(error: unknown): WalletUnavailable {
    if (error instanceof WalletUnavailable) return error
    if (!(error instanceof BaseError)) throw error
    const didNotAnswer = error.walk((cause) => cause instanceof HttpRequestError || isTimeout(cause)) !== null
    return new WalletUnavailable(
      didNotAnswer
        ? `The chain at ${this.place} does not answer. Is it running, and this machine online?`
        : `The chain at ${this.place} can't do it: ${withoutAddresses(error.details || error.shortMessage)}`,
      { cause: error },
    )
  }

  private get place(): string {
    return new URL(this.settings.rpcUrl).origin
  }
}

/** The chain of these settings; one for all who ask, so that their reads are bundled. */
export function chainOf({ chainId, rpcUrl }: ChainSettings): Chain {
  const chains = processWide('chains', () => new Map<string, Chain>())
  const name = `${chainId} ${rpcUrl}`
  const chain = chains.get(name) ?? new Chain({ chainId, rpcUrl })
  chains.set(name, chain)
  return chain
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}

function withoutAddresses(text: string): string {
  return text.replace(/https?:\/\/\S+/g, 'the chain')
}
