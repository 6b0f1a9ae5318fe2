import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Address } from 'viem'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { Anvil, CHAIN_ID, OWNER } from './anvil'
import { Market } from './market'
import { TOKEN, temporaryFolder } from './routes'
import { LoginServer } from './server'

/** Peer ids as libp2p makes them; `animalName` calls the first one "mellow bisque camel". */
export const PEERS = [
  'QmQ2gEXoPJg6iMBSUFWGzAabS2VhnzuS782Y637hGjfsRJ',
  'QmWhiaLrx3HRZfgXc2i7KW5nMUNK7P9tRc71yFJdGEZKkC',
  'QmQa1SCfYTxx7RvU7qJJRo79Zm1RAwPpkeLueDVJuBBmFp',
] as const

/** A chain with the contracts, and the built login server on it: what a launcher starts. */
export class Site {
  private readonly data = temporaryFolder()
  private running: LoginServer | undefined
  private environ: Record<string, string> = {}

  private constructor(
    readonly anvil: Anvil,
    readonly swarm: Address,
    readonly market: Market,
  ) {}

  /** `environ` is added to what the launcher says in any case. */
  static async start(environ: Record<string, string> = {}): Promise<Site> {
    const anvil = await Anvil.start()
    const swarm = await anvil.deploySwarm()
    const site = new Site(anvil, swarm, await Market.deploy(anvil, swarm))
    site.writeState('token', TOKEN)
    site.environ = {
      LOGIN_DATA_DIR: site.data.folder,
      SWARM_CHAIN_ID: String(CHAIN_ID),
      SWARM_RPC_URL: anvil.rpcUrl,
      SWARM_CONTRACT_ADDRESS: site.swarm,
      PRG_CONTRACT_ADDRESS: site.market.address,
      ...environ,
    }
    site.running = await LoginServer.start(site.environ)
    return site
  }

  get server(): LoginServer {
    if (!this.running) throw new Error('The login server was never started.')
    return this.running
  }

  get url(): string {
    return this.server.url
  }

  /** What the launcher prints. */
  get urlWithToken(): string {
    return `${this.url}/#token=${TOKEN}`
  }

  /** The same server again, on its port, after it was stopped. */
  async restartServer(): Promise<void> {
    this.running = await LoginServer.start({ ...this.environ, LOGIN_PORT: String(this.server.port) })
  }

  async stop(): Promise<void> {
    await this.running?.stop()
    await this.anvil.stop()
    this.data.remove()
  }

  /** As a node on this machine calls it; throws unless the server does what is asked. */
  async post<T>(route: string, body: unknown): Promise<T> {
    const { status, text } = await this.server.ask(`/api/${route}`, {
      method: 'POST',
      headers: {
        host: `localhost:${this.server.port}`,
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
    })
    if (status !== 200) throw new Error(`${route} was answered ${status}: ${text}`)
    return JSON.parse(text)
  }

  async logIn(email: string): Promise<string> {
    return (await this.post<{ orgId: string }>('get-api-key', { whoamiStamp: { email } })).orgId
  }

  /** Registers a peer with the key that LOGIN_NODE_ACCOUNT = OWNER.address stands for, as the node itself does. */
  async registerForNode(peerId: string): Promise<void> {
    const hash = await this.anvil.client.writeContract({
      ...{ address: this.swarm, abi: SwarmCoordinatorAbi, functionName: 'registerPeer', args: [peerId] },
      ...{ account: OWNER, chain: null, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n },
    })
    await this.anvil.client.waitForTransactionReceipt({ hash })
  }

  /** The text of a file of the server's, '' when there is none. */
  state(name: string): string {
    const file = path.join(this.data.folder, name)
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }

  writeState(name: string, content: string | object): void {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    writeFileSync(path.join(this.data.folder, name), text, { mode: 0o600 })
  }
}
