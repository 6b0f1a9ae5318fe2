import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { privateKeyToAddress } from 'viem/accounts'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readSettings } from '@/lib/settings'
import { makeAlchemyWallet } from '@/lib/wallet/alchemy'
import { LoginRefused, WalletUnavailable } from '@/lib/wallet/wallet'

const USER = {
  orgId: '0b2c7f0e-2f63-4f0e-9d0a-1f2a7a0d4c11',
  userId: 'a-user',
  address: '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf',
  email: 'somebody@example.org',
}

type Asked = { url: string | undefined; authorization: string | undefined; body: unknown }

/** Stands in for Alchemy's signer, or for a server that a stamp would like to have asked. */
class Listener {
  readonly asked: Asked[] = []
  url = ''
  status = 200
  headers: Record<string, string> = {}
  answer: unknown = USER
  private readonly server: Server = createServer((request, response) => void this.reply(request, response))

  async start(): Promise<this> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
    return this
  }

  stop(): void {
    this.server.close()
    this.server.closeAllConnections()
  }

  private async reply(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece as Buffer)
    const body: unknown = JSON.parse(Buffer.concat(pieces).toString() || 'null')
    this.asked.push({ url: request.url, authorization: request.headers.authorization, body })
    const answer = typeof this.answer === 'string' ? this.answer : JSON.stringify(this.answer)
    response.writeHead(this.status, this.headers).end(answer)
  }
}

let signer: Listener
let elsewhere: Listener

beforeEach(async () => {
  signer = await new Listener().start()
  elsewhere = await new Listener().start()
})
afterEach(() => {
  signer.stop()
  elsewhere.stop()
})

function stamp(url = 'https://api.turnkey.com/public/v1/query/whoami') {
  return {
    url,
    body: '{"organizationId":"0b2c"}',
    stamp: { stampHeaderName: 'X-Stamp', stampHeaderValue: 'signed' },
  }
}

function identify(whoamiStamp: unknown) {
  const settings = readSettings({
    LOGIN_WALLET: 'alchemy',
    NEXT_PUBLIC_ALCHEMY_API_KEY: 'the-key',
    ALCHEMY_SIGNER_URL: `${signer.url}/signer`,
  })
  return makeAlchemyWallet(settings).identify(whoamiStamp)
}

describe('who made a stamp', () => {
  test('is what the signer says, asked with the API key', async () => {
    expect(await identify(stamp())).toEqual(USER)
    expect(signer.asked).toEqual([
      { url: '/signer/v1/whoami', authorization: 'Bearer the-key', body: { stampedRequest: stamp() } },
    ])
  })

  test('may be somebody without an email', async () => {
    signer.answer = { ...USER, email: undefined }
    expect(await identify(stamp())).not.toHaveProperty('email')
  })

  test('is never asked of an address in the stamp', async () => {
    await identify(stamp(`${elsewhere.url}/whoami`))
    expect(elsewhere.asked).toEqual([])
    expect(signer.asked).toHaveLength(1)
  })

  test('is never asked of an address that the signer points to', async () => {
    signer.status = 307
    signer.headers = { location: `${elsewhere.url}/whoami` }
    await expect(identify(stamp())).rejects.toBeInstanceOf(WalletUnavailable)
    expect(elsewhere.asked).toEqual([])
  })

  test.each([
    ['nothing', null],
    ['a word', 'stamp'],
    ['an empty object', {}],
    ['one whose stamp is a word', { ...stamp(), stamp: 'x' }],
    ['a long one', { ...stamp(), body: 'x'.repeat(9_000) }],
  ])('is nobody when it is %s', async (_, nonsense) => {
    await expect(identify(nonsense)).rejects.toBeInstanceOf(LoginRefused)
    expect(signer.asked).toEqual([])
  })

  test.each([400, 401, 403, 404])('is nobody when the signer answers %i', async (status) => {
    signer.status = status
    await expect(identify(stamp())).rejects.toBeInstanceOf(LoginRefused)
  })

  test.each([429, 500, 503])('is not known while the signer answers %i', async (status) => {
    signer.status = status
    await expect(identify(stamp())).rejects.toBeInstanceOf(WalletUnavailable)
  })

  test.each([
    ['that is empty', ''],
    ['that is no JSON', 'no JSON'],
    ['without a user', {}],
    ['whose address is none', { ...USER, address: 'somewhere' }],
    ['whose orgId is a number', { ...USER, orgId: 7 }],
  ])('is not known from an answer %s', async (_, answer) => {
    signer.answer = answer
    await expect(identify(stamp())).rejects.toBeInstanceOf(WalletUnavailable)
  })

  test('is not known while the signer is away', async () => {
    signer.stop()
    await expect(identify(stamp())).rejects.toThrow("Alchemy's signer does not answer")
  })
})

test('a new key has nothing to act with before its permission, and is named by its address', async () => {
  const wallet = makeAlchemyWallet(readSettings({ LOGIN_WALLET: 'alchemy' }))
  const key = await wallet.newKey({ ...USER, address: '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf' })
  expect(key).toMatchObject({ activated: false, publicKey: privateKeyToAddress(key.privateKey) })
  expect(key).not.toHaveProperty('accountAddress')
})
