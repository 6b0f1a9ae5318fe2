import { setTimeout as pause } from 'node:timers/promises'
import { encodeFunctionData, type Hash, type Hex, isHex, type Log, parseAbi, parseEventLogs } from 'viem'
import { contractErrorName } from '../contract-errors'
import type { AccountClient, OperationOverrides, OperationReceipt } from './alchemy-account'
import { explained } from './alchemy-errors'
import type { ReplacementPolicy } from './transaction'
import { type ContractCall, ContractRefused, WalletUnavailable } from './wallet'

export const OPERATION_REPLACEMENT: ReplacementPolicy = { blockMs: 15_000, replacements: 2 }
/** Bundlers want a tenth more for a replacement; an operation is stuck because it offered too little, so more helps. */
const RAISE_PERCENT = 150n
const ENTRY_POINT_EVENTS = parseAbi([
  'event UserOperationRevertReason(bytes32 indexed userOpHash, address indexed sender, uint256 nonce, bytes revertReason)',
])

/**
 * Send the call as a user operation and wait until the chain has included it; returns the hash of the operation that got
 * in. Throws ContractRefused, WalletUnavailable.
 *
 * `makeClient` is asked anew for every try: an account-kit client hands its permission to the first operation that it
 * signs and to no other, so that a replacement of the very first operation would not be valid.
 */
export async function sendOperation(
  makeClient: () => Promise<AccountClient>,
  call: ContractCall,
  policy: ReplacementPolicy = OPERATION_REPLACEMENT,
): Promise<Hash> {
  const operation = new Operation(makeClient, call)
  for (let replacement = 0; replacement <= policy.replacements; replacement++) {
    await operation.send()
    if (await operation.isIncluded(policy.blockMs)) return operation.result()
  }
  throw operation.stuck((policy.blockMs * (policy.replacements + 1)) / 1000)
}

/** One nonce, and all operations sent with it. */
class Operation {
  private readonly uo: { target: Hex; data: Hex; value: bigint }
  private client: AccountClient | undefined
  private readonly sent: Hash[] = []
  private last: OperationOverrides | undefined
  private included: { hash: Hash; receipt: OperationReceipt } | undefined
  private refusal: Error | undefined

  constructor(
    private readonly makeClient: () => Promise<AccountClient>,
    call: ContractCall,
  ) {
    this.uo = { target: call.address, data: encodeFunctionData(call), value: 0n }
  }

  /** The first try, or one that replaces the last. What is said against a replacement is kept: the old one may get in. */
  async send(): Promise<void> {
    try {
      this.client = await this.makeClient()
      const { hash, request } = await this.client.sendUserOperation({
        uo: this.uo,
        overrides: this.last && raised(this.last),
      })
      this.last = {
        nonce: BigInt(request.nonce),
        maxFeePerGas: BigInt(request.maxFeePerGas),
        maxPriorityFeePerGas: BigInt(request.maxPriorityFeePerGas),
      }
      // Where nothing costs anything a replacement is the same operation again.
      if (!this.sent.includes(hash)) this.sent.push(hash)
    } catch (error) {
      this.refusal = explained(error)
      if (this.sent.length === 0) throw this.refusal
    }
  }

  async isIncluded(waitMs: number): Promise<boolean> {
    const end = performance.now() + waitMs
    for (let wait = 100; ; wait = Math.min(2 * wait, 2_000)) {
      if (await this.findReceipt()) return true
      if (performance.now() >= end) return false
      await pause(Math.min(wait, Math.max(end - performance.now(), 1)))
    }
  }

  /** The hash of the operation that got in. Throws ContractRefused when the call in it was refused. */
  result(): Hash {
    if (!this.included) throw new Error('An operation has a result once it is included.')
    const { hash, receipt } = this.included
    if (receipt.success) return hash
    throw new ContractRefused(contractErrorName({ data: revertReason(hash, receipt) }) ?? 'Reverted')
  }

  stuck(seconds: number): Error {
    const why = this.refusal ? ` The last replacement was refused: ${this.refusal.message}` : ''
    return new WalletUnavailable(
      `User operation ${this.sent.at(-1)} was not included within ${seconds} s, its fee raised twice. ` +
        `Try again later.${why}`,
    )
  }

  /** Of any operation with this nonce: a replaced one may still have been the quicker. */
  private async findReceipt(): Promise<boolean> {
    for (const hash of this.sent) {
      const receipt = await this.receiptOf(hash)
      if (receipt) {
        this.included = { hash, receipt }
        return true
      }
    }
    return false
  }

  private async receiptOf(hash: Hash): Promise<OperationReceipt | null | undefined> {
    try {
      return await this.client?.getUserOperationReceipt(hash)
    } catch (error) {
      throw explained(error)
    }
  }
}

function raised({ nonce, maxFeePerGas, maxPriorityFeePerGas }: OperationOverrides): OperationOverrides {
  const raise = (fee: bigint) => (fee * RAISE_PERCENT + 99n) / 100n
  return { nonce, maxFeePerGas: raise(maxFeePerGas), maxPriorityFeePerGas: raise(maxPriorityFeePerGas) }
}

/** What the account's call said when it was refused: in the entry point's event, or as the bundler's `reason`. */
function revertReason(hash: Hash, receipt: OperationReceipt): Hex | undefined {
  const logs = [receipt.logs, receipt.receipt.logs].flatMap((some) =>
    Array.isArray(some) ? some : [],
  ) as Log[]
  const events = parseEventLogs({ abi: ENTRY_POINT_EVENTS, logs })
  const ours = events.find((event) => event.args.userOpHash.toLowerCase() === hash.toLowerCase())
  return ours?.args.revertReason ?? (isHex(receipt.reason) ? receipt.reason : undefined)
}
