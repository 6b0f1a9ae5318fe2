import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import {
  type Abi,
  type Address,
  createTestClient,
  getContract,
  type Hex,
  http,
  publicActions,
  walletActions,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'

const REPOSITORY = path.resolve(import.meta.dirname, '..', '..', '..')
const CONTRACTS = path.join(REPOSITORY, 'contracts')
const ARTIFACTS = path.join(REPOSITORY, 'rgym_exp', 'chain', 'abi')
export const CHAIN_ID = 685_686

/** The contract's owner and keeper in tests; the number 1 as a key, which nobody could think to be secret. */
export const OWNER = privateKeyToAccount(`0x${'1'.padStart(64, '0')}`)

/** The owner has money on every chain; what the accounts under test pay is the chain's to say. */
const OWNER_FEES = { maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n }

/** A real chain of one's own, without fees unless `args` say otherwise. */
export class Anvil {
  private constructor(
    private readonly process: ChildProcess,
    readonly port: number,
  ) {}

  get rpcUrl(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get client() {
    return createTestClient({ mode: 'anvil', transport: http(this.rpcUrl), pollingInterval: 20 })
      .extend(publicActions)
      .extend(walletActions)
  }

  static async start(
    { args = ['--gas-price', '0', '--base-fee', '0', '--disable-min-priority-fee'], port = 0 } = {} as {
      args?: string[]
      port?: number
    },
  ): Promise<Anvil> {
    const chain = [
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--chain-id',
      String(CHAIN_ID),
      '--accounts',
      '0',
    ]
    const child = spawn(binary(), [...chain, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    return new Anvil(child, await listeningPort(child))
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill('SIGKILL')
    await ended
  }

  /** A SwarmCoordinator that obeys OWNER. */
  async deploySwarm(): Promise<Address> {
    const swarm = await this.deploy('SwarmCoordinator', SwarmCoordinatorAbi, [1n])
    await this.asOwner({ address: swarm, abi: SwarmCoordinatorAbi }, 'initialize', [OWNER.address])
    return swarm
  }

  /** One of the contracts that `contracts/` builds. */
  async deploy(name: string, abi: Abi, args: readonly unknown[]): Promise<Address> {
    const { bytecode } = JSON.parse(readFileSync(path.join(ARTIFACTS, `${name}.json`), 'utf8')) as {
      bytecode: Hex
    }
    await this.client.setBalance({ address: OWNER.address, value: 10n ** 21n })
    const hash = await this.client.deployContract({
      ...{ abi, bytecode, args },
      account: OWNER,
      chain: null,
      ...OWNER_FEES,
    })
    const { contractAddress } = await this.client.waitForTransactionReceipt({ hash })
    if (!contractAddress) throw new Error('The contract was not deployed.')
    return contractAddress
  }

  /** A transaction of OWNER to a contract, in a block by the time of the answer. */
  async asOwner(
    contract: { address: Address; abi: Abi },
    functionName: string,
    args: readonly unknown[],
  ): Promise<void> {
    const hash = await this.client.writeContract({
      ...contract,
      ...{ functionName, args },
      account: OWNER,
      chain: null,
      ...OWNER_FEES,
    })
    await this.client.waitForTransactionReceipt({ hash })
  }

  async advanceRound(swarm: Address): Promise<void> {
    await this.asOwner({ address: swarm, abi: SwarmCoordinatorAbi }, 'updateStageAndRound', [])
  }

  reads(swarm: Address) {
    return getContract({ address: swarm, abi: SwarmCoordinatorAbi, client: this.client }).read
  }

  async ownerOf(swarm: Address, peerId: string): Promise<Address | undefined> {
    const [owner] = await this.reads(swarm).getEoa([[peerId]])
    return owner
  }
}

/** The program that the npm package of the contracts' folder ships. */
function binary(): string {
  const os = { darwin: 'darwin', win32: 'win32' }[process.platform as string] ?? 'linux'
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const file = path.join(CONTRACTS, 'node_modules', '@foundry-rs', `anvil-${os}-${arch}`, 'bin', 'anvil')
  if (!existsSync(file)) throw new Error(`There is no ${file}: run \`npm ci\` in contracts/.`)
  return file
}

async function listeningPort(child: ChildProcess): Promise<number> {
  if (!child.stdout) throw new Error('anvil was started without a pipe.')
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /Listening on [\d.]+:(\d+)/.exec(line)?.[1]
    if (port) {
      child.stdout.resume()
      return Number(port)
    }
  }
  throw new Error('anvil ended before it listened.')
}
