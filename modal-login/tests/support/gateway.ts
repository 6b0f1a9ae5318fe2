import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BaseError, type Hex, RpcRequestError, toHex } from 'viem'
import {
  entryPoint07Abi,
  entryPoint07Address,
  getUserOperationHash,
  toPackedUserOperation,
  type UserOperation,
} from 'viem/account-abstraction'
import { type Anvil, CHAIN_ID, OWNER } from './anvil'

type Operation = UserOperation<'0.7'>
type Wire = Record<keyof Operation, Hex>
interface EstimateRequest {
  userOperation: Wire
  /** What the client wants instead of the gateway's own estimate: a value, or so many times as much. */
  overrides?: Record<string, Hex | { multiplier: number }>
}

/** What this gateway says no with: a JSON-RPC error. */
class OperationRefused extends Error {
  constructor(
    readonly code: number,
    message: string,
    readonly data?: unknown,
  ) {
    super(message)
  }
}

/** Pages of other origins ask it too, as they do Alchemy's. */
export const FOR_PAGES = {
  'content-type': 'application/json',
  'access-control-allow-origin': '*',
  'access-control-allow-headers': '*, authorization',
}
/** What the bundler itself pays on a chain that asks for nothing. */
export const NO_FEES = { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n }
const GAS = { callGasLimit: 1_000_000n, verificationGasLimit: 2_000_000n, preVerificationGas: 100_000n }

/**
 * The part of Alchemy's JSON-RPC that account-kit's client uses, over a local chain with an entry point v0.7: it bundles
 * each operation by itself, at once, and asks nobody to pay. Everything else goes to the chain.
 */
export class Gateway {
  /** Operations that offer less than this are taken, and never bundled. */
  leastFee = 0n
  /** What a client is told to offer. */
  suggestedFee = 0n
  /** Everything that was asked, in order. */
  readonly asked: { method: string; params: unknown[]; authorization: string | undefined }[] = []
  private readonly waiting = new Map<string, Operation>()
  private readonly server: Server

  private constructor(private readonly anvil: Anvil) {
    this.server = createServer((request, response) => {
      for (const [name, value] of Object.entries(FOR_PAGES)) response.setHeader(name, value)
      if (request.method === 'OPTIONS') return void response.writeHead(204).end()
      void this.answer(request).then((body) => response.end(JSON.stringify(body)))
    })
  }

  static async start(anvil: Anvil): Promise<Gateway> {
    const gateway = new Gateway(anvil)
    gateway.server.listen(0, '127.0.0.1')
    await once(gateway.server, 'listening')
    return gateway
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, 'close')
  }

  /** The operations sent to it, as they came. */
  get operations(): Wire[] {
    return this.asked
      .filter(({ method }) => method === 'eth_sendUserOperation')
      .map(({ params }) => params[0] as Wire)
  }

  private async answer(request: IncomingMessage): Promise<unknown> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const { id, method, params } = JSON.parse(Buffer.concat(pieces).toString()) as {
      id: number
      method: string
      params: unknown[]
    }
    this.asked.push({ method, params, authorization: request.headers.authorization })
    try {
      return { jsonrpc: '2.0', id, result: await this.result(method, params ?? []) }
    } catch (error) {
      return { jsonrpc: '2.0', id, error: asRpcError(error) }
    }
  }

  private async result(method: string, params: unknown[]): Promise<unknown> {
    switch (method) {
      case 'rundler_maxPriorityFeePerGas':
        return toHex(this.suggestedFee)
      case 'alchemy_requestGasAndPaymasterAndData':
        return await this.estimate(params[0] as EstimateRequest)
      case 'eth_sendUserOperation':
        return await this.take(operation(params[0] as Wire))
      case 'eth_getUserOperationReceipt':
        return await this.receipt(params[0] as Hex)
      default:
        return await this.chain(method, params)
    }
  }

  private chain(method: string, params: unknown[]): Promise<unknown> {
    return this.anvil.client.request({ method, params } as never)
  }

  /** As Alchemy's: the call is tried before anything is signed, where there is an account to try it with. */
  private async estimate({ userOperation, overrides = {} }: EstimateRequest) {
    try {
      await this.anvil.client.call({
        account: entryPoint07Address,
        to: userOperation.sender,
        data: userOperation.callData,
      })
    } catch (error) {
      const revertData = revertDataOf(error)
      throw new OperationRefused(-32521, 'execution reverted', { reason: '', revertData })
    }
    const offers = { ...GAS, maxFeePerGas: this.suggestedFee, maxPriorityFeePerGas: this.suggestedFee }
    return Object.fromEntries(
      Object.entries(offers).map(([name, value]) => [name, overridden(value, overrides[name])]),
    )
  }

  private async take(taken: Operation): Promise<Hex> {
    const place = `${taken.sender} ${taken.nonce}`
    const before = this.waiting.get(place)
    if (
      before &&
      hashOf(before) !== hashOf(taken) &&
      taken.maxFeePerGas < (before.maxFeePerGas * 11n) / 10n
    ) {
      throw new OperationRefused(-32602, 'replacement underpriced')
    }
    this.waiting.set(place, taken)
    if (taken.maxFeePerGas >= this.leastFee) {
      await this.bundle(taken)
      this.waiting.delete(place)
    }
    return hashOf(taken)
  }

  private async bundle(taken: Operation): Promise<void> {
    const bundle = {
      address: entryPoint07Address,
      abi: entryPoint07Abi,
      functionName: 'handleOps' as const,
      args: [[toPackedUserOperation(taken)], OWNER.address] as const,
      account: OWNER,
      ...NO_FEES,
    }
    try {
      await this.anvil.client.simulateContract(bundle)
    } catch (error) {
      // What the entry point has against it: AA22 (expired), AA24 (signature), AA25 (nonce) ...
      const code = error instanceof BaseError ? /AA\d\d [^"\n]*/.exec(error.message)?.[0] : undefined
      throw code ? new OperationRefused(-32500, code) : error
    }
    const hash = await this.anvil.client.writeContract({ ...bundle, chain: null, gas: 10_000_000n })
    await this.anvil.client.waitForTransactionReceipt({ hash })
  }

  private async receipt(hash: Hex): Promise<unknown> {
    const [event] = await this.anvil.client.getContractEvents({
      address: entryPoint07Address,
      abi: entryPoint07Abi,
      eventName: 'UserOperationEvent',
      args: { userOpHash: hash },
      fromBlock: 0n,
    })
    if (!event) return null
    const receipt = (await this.chain('eth_getTransactionReceipt', [event.transactionHash])) as {
      logs: unknown
    }
    return {
      userOpHash: hash,
      entryPoint: entryPoint07Address,
      sender: event.args.sender,
      success: event.args.success,
      actualGasCost: toHex(event.args.actualGasCost ?? 0n),
      actualGasUsed: toHex(event.args.actualGasUsed ?? 0n),
      logs: receipt.logs,
      receipt,
    }
  }
}

function overridden(estimate: bigint, by: Hex | { multiplier: number } | undefined): Hex {
  if (typeof by === 'string') return by
  return toHex((estimate * BigInt(Math.round((by?.multiplier ?? 1) * 100))) / 100n)
}

function hashOf(taken: Operation): Hex {
  return getUserOperationHash({
    ...{ chainId: CHAIN_ID, entryPointAddress: entryPoint07Address, entryPointVersion: '0.7' },
    userOperation: taken,
  })
}

function operation(wire: Wire): Operation {
  const { sender, factory, factoryData, callData, signature } = wire
  const number = (name: keyof Operation) => BigInt(wire[name])
  return {
    ...{ sender, callData, signature, ...(factory ? { factory, factoryData } : {}) },
    nonce: number('nonce'),
    callGasLimit: number('callGasLimit'),
    verificationGasLimit: number('verificationGasLimit'),
    preVerificationGas: number('preVerificationGas'),
    maxFeePerGas: number('maxFeePerGas'),
    maxPriorityFeePerGas: number('maxPriorityFeePerGas'),
  }
}

function asRpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof OperationRefused) return { code: error.code, message: error.message, data: error.data }
  const rpc = error instanceof BaseError ? error.walk((cause) => cause instanceof RpcRequestError) : null
  if (rpc instanceof RpcRequestError) return { code: rpc.code, message: rpc.details, data: rpc.data }
  throw error
}

function revertDataOf(error: unknown): unknown {
  const rpc = error instanceof BaseError ? error.walk((cause) => cause instanceof RpcRequestError) : null
  if (rpc instanceof RpcRequestError) return rpc.data
  throw error
}
