import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import type { Address, Hash } from 'viem'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { TOKEN, temporaryFolder } from '../support/routes'
import { type HttpAnswer, LoginServer } from '../support/server'

let anvil: Anvil
let swarm: Address
let server: LoginServer
let environ: Record<string, string>
const data = temporaryFolder()

beforeAll(async () => {
  writeFileSync(path.join(data.folder, 'token'), TOKEN)
  anvil = await Anvil.start()
  swarm = await anvil.deploySwarm()
  environ = {
    LOGIN_DATA_DIR: data.folder,
    LOGIN_WALLET: 'local',
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: anvil.rpcUrl,
    SWARM_CONTRACT_ADDRESS: swarm,
    // Shells and containers set it; the server must not listen there.
    HOSTNAME: '0.0.0.0',
  }
  server = await LoginServer.start(environ)
})

afterAll(async () => {
  await server?.stop()
  await anvil?.stop()
  data.remove()
})

const own = () => ({
  host: `localhost:${server.port}`,
  authorization: `Bearer ${TOKEN}`,
  'content-type': 'application/json',
})

function post(route: string, body: unknown, headers: Record<string, string> = {}): Promise<HttpAnswer> {
  return server.ask(`/api/${route}`, {
    method: 'POST',
    headers: { ...own(), ...headers },
    body: JSON.stringify(body),
  })
}

async function logIn(email: string): Promise<string> {
  const { status, text } = await post('get-api-key', { whoamiStamp: { email } })
  expect(status).toBe(200)
  return JSON.parse(text).orgId
}

async function accountOf(orgId: string): Promise<Address> {
  const { text } = await server.ask('/api/account', { headers: own() })
  expect(JSON.parse(text).orgId).toBe(orgId)
  return JSON.parse(text).address
}

describe('the built server', () => {
  it('listens on this machine only, whatever HOSTNAME says', async () => {
    const reached = await new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.2', port: server.port, timeout: 2_000 })
      for (const event of ['connect', 'error', 'timeout']) {
        socket.once(event, () => {
          socket.destroy()
          resolve(event)
        })
      }
    })
    expect(reached).not.toBe('connect')
  })

  it.each(['/', '/api/account', '/icon.svg', '/_next/static/nothing.js', '/no/such/page'])(
    'gives %s to nobody who calls it by another name',
    async (place) => {
      const { status, text } = await server.ask(place, { headers: { host: 'evil.test' } })
      expect(status).toBe(403)
      expect(text).toContain('LOGIN_ALLOWED_HOSTS')
    },
  )

  it('does not let a header that Next uses inside talk it out of the check', async () => {
    const headers = {
      host: 'evil.test',
      'x-forwarded-host': 'localhost',
      'x-middleware-subrequest': 'proxy:proxy:proxy:proxy:proxy',
      'x-middleware-next': '1',
    }
    expect((await server.ask('/', { headers })).status).toBe(403)
    expect((await server.ask('/api/account', { headers })).status).toBe(403)
  })

  it('sends a page whose scripts all carry the nonce of its policy', async () => {
    const { status, headers, text } = await server.ask('/', { headers: own() })
    expect(status).toBe(200)
    const nonce = /'nonce-([0-9a-f]+)'/.exec(String(headers['content-security-policy']))?.[1]
    const scripts = text.match(/<script[^>]*>/g) ?? []
    expect(scripts.length).toBeGreaterThan(0)
    for (const script of scripts) expect(script).toContain(`nonce="${nonce}"`)
    expect(headers['x-powered-by']).toBeUndefined()
  })

  it('refuses a write without the token, from another site, and one that is too large, and lives on', async () => {
    const body = { whoamiStamp: { email: 'intruder@example.org' } }
    expect((await post('get-api-key', body, { authorization: 'Bearer wrong' })).status).toBe(401)
    expect((await post('get-api-key', body, { origin: 'http://evil.test' })).status).toBe(403)
    expect((await post('get-api-key', { ...body, more: 'x'.repeat(5_000_000) })).status).toBe(413)
    const chunked = { 'transfer-encoding': 'chunked' }
    expect((await post('get-api-key', { ...body, more: 'x'.repeat(70_000) }, chunked)).status).toBe(413)
    const { text } = await server.ask('/api/account', { headers: own() })
    expect(text).not.toContain('intruder')
  })
})

describe('writes through the built server', () => {
  const waiting = async (account: Address): Promise<number> => {
    const { pending } = await anvil.client.getTxpoolContent()
    return Object.keys(pending[account] ?? pending[account.toLowerCase() as Address] ?? {}).length
  }

  it('stand in one line for an account, though Next bundles every route by itself', async () => {
    const orgId = await logIn('line@example.org')
    const account = await accountOf(orgId)
    await anvil.client.setAutomine(false)
    const peer = { orgId, peerId: 'QmLine' }
    const first = post('register-peer', peer)
    await vi.waitFor(async () => expect(await waiting(account)).toBe(1), { timeout: 10_000 })
    const others = [
      post('submit-reward', { ...peer, roundNumber: 0, stageNumber: 0, reward: 1 }),
      post('submit-winner', { ...peer, roundNumber: 0, winners: ['QmLine'] }),
    ]
    // Were they not in that line, each would be on its way to the chain by the time that these are answered.
    for (let count = 0; count < 10; count++) await server.ask('/api/status', { headers: own() })
    expect(await waiting(account)).toBe(1)
    await anvil.client.setAutomine(true)
    await anvil.client.mine({ blocks: 1 })
    expect((await Promise.all([first, ...others])).map(({ status }) => status)).toEqual([200, 200, 200])
  })

  it('of two nodes under one login, twenty at once, all get in, with one nonce each', async () => {
    const orgId = await logIn('nodes@example.org')
    const nodes = ['QmOne', 'QmTwo'].map((peerId) => ({ orgId, peerId }))
    for (const node of nodes) expect((await post('register-peer', node)).status).toBe(200)
    const rounds = [1, 2, 3, 4, 5]
    for (const _ of rounds) await anvil.advanceRound(swarm)
    const answers = await Promise.all(
      rounds.flatMap((roundNumber) =>
        nodes.flatMap((node) => [
          post('submit-reward', { ...node, roundNumber, stageNumber: 0, reward: 1 }),
          post('submit-winner', { ...node, roundNumber, winners: [node.peerId] }),
        ]),
      ),
    )
    expect(answers.map(({ status, text }) => (status === 200 ? 200 : text))).toEqual(Array(20).fill(200))
    const hashes = answers.map(({ text }) => JSON.parse(text).hash as Hash)
    const nonces = await Promise.all(
      hashes.map(async (hash) => (await anvil.client.getTransaction({ hash })).nonce),
    )
    expect(nonces.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, place) => place + 2))
  })
})

it('still knows who is logged in after it was killed and started again', async () => {
  const orgId = await logIn('stays@example.org')
  const account = await accountOf(orgId)
  await server.stop('SIGKILL')
  server = await LoginServer.start({ ...environ, LOGIN_PORT: String(server.port) })
  expect(await accountOf(orgId)).toBe(account)
  expect((await post('register-peer', { orgId, peerId: 'QmStays' })).status).toBe(200)
  expect(await anvil.ownerOf(swarm, 'QmStays')).toBe(account)
})

it('prints no key and no token', () => {
  expect(server.log).not.toContain(TOKEN)
  expect(server.log).not.toMatch(/[0-9a-f]{64}/i)
})
