import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Hex, serializeSignature } from 'viem'
import { generatePrivateKey, privateKeyToAddress, sign } from 'viem/accounts'
import { FOR_PAGES } from './gateway'

type Body = Record<string, unknown>

/**
 * The part of Alchemy's signer service that a log-in with a passkey uses: it makes one account, and signs with its key
 * whatever comes stamped. It doesn't check the stamps; that is the real one's affair.
 */
export class Signer {
  private readonly key = generatePrivateKey()
  readonly user = {
    orgId: '0b2c7f0e-2f63-4f0e-9d0a-1f2a7a0d4c11',
    userId: 'a-user-of-the-stand-in',
    address: privateKeyToAddress(this.key),
  }
  /** The routes asked, in order. */
  readonly asked: string[] = []
  private readonly server: Server = createServer((request, response) => {
    for (const [name, value] of Object.entries(FOR_PAGES)) response.setHeader(name, value)
    if (request.method === 'OPTIONS') return void response.writeHead(204).end()
    void this.answer(request).then((body) => {
      response.writeHead(body ? 200 : 404).end(JSON.stringify(body ?? { error: 'no such route' }))
    })
  })

  static async start(): Promise<Signer> {
    const signer = new Signer()
    signer.server.listen(0, '127.0.0.1')
    await once(signer.server, 'listening')
    return signer
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/signer`
  }

  stop(): void {
    this.server.close()
    this.server.closeAllConnections()
  }

  private async answer(request: IncomingMessage): Promise<unknown> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const body = JSON.parse(Buffer.concat(pieces).toString()) as Body
    this.asked.push(request.url ?? '')
    switch (request.url) {
      case '/signer/v1/signup':
      case '/signer/v1/whoami':
        return this.user
      case '/signer/v1/sign-payload':
        return { signature: await this.signed(body) }
      default:
        return undefined
    }
  }

  private async signed({ stampedRequest }: Body): Promise<Hex> {
    const { parameters } = JSON.parse((stampedRequest as { body: string }).body) as { parameters: Body }
    return serializeSignature(await sign({ hash: parameters.payload as Hex, privateKey: this.key }))
  }
}
