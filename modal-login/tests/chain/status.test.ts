import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { text as readText } from 'node:stream/consumers'
import type { Address } from 'viem'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { POST as getApiKey } from '@/app/api/get-api-key/route'
import { POST as guessAnswer } from '@/app/api/guess-answer/route'
import { POST as registerPeer } from '@/app/api/register-peer/route'
import { GET as status } from '@/app/api/status/route'
import { POST as submitReward } from '@/app/api/submit-reward/route'
import { POST as submitWinner } from '@/app/api/submit-winner/route'
import { animalName } from '@/lib/names'
import type { PageStatus } from '@/lib/page'
import { Anvil, CHAIN_ID, OWNER } from '../support/anvil'
import { Market, ONE_TOKEN } from '../support/market'
import { get, post, setEnvironment, TOKEN, temporaryFolder } from '../support/routes'

let anvil: Anvil
let swarm: Address
let environ: Record<string, string>
/** Each test has a contract, and so rounds, of its own. */
beforeAll(async () => {
  anvil = await Anvil.start()
})

afterAll(async () => {
  await anvil.stop()
})

beforeEach(async () => {
  const data = temporaryFolder()
  writeFileSync(path.join(data.folder, 'token'), TOKEN)
  swarm = await anvil.deploySwarm()
  environ = {
    LOGIN_DATA_DIR: data.folder,
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: anvil.rpcUrl,
    SWARM_CONTRACT_ADDRESS: swarm,
  }
  setEnvironment(environ)
  return data.remove
})

let minutes = 0
const now = performance.now.bind(performance)

/** What pages are told that ask together when what was told before isn't fresh any more. */
async function freshStatuses(pages: number, headers: Record<string, string> = {}): Promise<PageStatus[]> {
  minutes += 1
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + minutes * 60_000)
  const answers = await Promise.all(Array.from({ length: pages }, () => get(status, '', headers)))
  clock.mockRestore()
  return answers.map((answer) => {
    expect(answer.status).toBe(200)
    return JSON.parse(answer.text)
  })
}

async function freshStatus(headers?: Record<string, string>): Promise<PageStatus> {
  const [told] = await freshStatuses(1, headers)
  if (!told) throw new Error('There was no answer.')
  return told
}

async function logIn(): Promise<string> {
  return (await post(getApiKey, { whoamiStamp: { email: 'someone@example.org' } })).body.orgId
}

async function done(answer: Promise<{ status: number }>): Promise<void> {
  expect((await answer).status).toBe(200)
}

const register = (orgId: string, peerId: string) => done(post(registerPeer, { orgId, peerId }))
const reward = (orgId: string, peerId: string, roundNumber: number, amount: number) =>
  done(post(submitReward, { orgId, peerId, roundNumber, stageNumber: 0, reward: amount }))
const vote = (orgId: string, peerId: string, roundNumber: number, winners: string[]) =>
  done(post(submitWinner, { orgId, peerId, roundNumber, winners }))
async function advance(rounds: number): Promise<void> {
  for (let count = 0; count < rounds; count++) await anvil.advanceRound(swarm)
}

describe('the page is told', () => {
  it('the round where nobody is logged in and the server belongs to no node', async () => {
    await advance(2)
    expect(await freshStatus()).toEqual({
      kind: 'none',
      account: null,
      address: null,
      round: { round: 2, stage: 0 },
      peers: [],
      trouble: null,
    })
  })

  it("the node's own account where nobody is logged in", async () => {
    setEnvironment({ ...environ, LOGIN_NODE_ACCOUNT: OWNER.address })
    expect(await freshStatus()).toMatchObject({
      kind: 'node',
      account: null,
      address: OWNER.address,
      peers: [],
    })
  })

  it("the login's account rather than the node's", async () => {
    setEnvironment({ ...environ, LOGIN_NODE_ACCOUNT: OWNER.address })
    const orgId = await logIn()
    const told = await freshStatus()
    expect(told).toMatchObject({ kind: 'login', account: { orgId, activation: 'activated' } })
    expect(told.address).toBe(told.account?.address)
    expect(told.account?.email).toBeUndefined()
    const toldWithToken = await freshStatus({ authorization: `Bearer ${TOKEN}` })
    expect(toldWithToken.account?.email).toBe('someone@example.org')
  })

  it('a peer by its animal name, with its last reward and vote, totals and bet tokens', async () => {
    const market = await Market.deploy(anvil, swarm)
    setEnvironment({ ...environ, PRG_CONTRACT_ADDRESS: market.address })
    const orgId = await logIn()
    await register(orgId, 'QmOwn')
    const gameId = String(await market.newGame())
    const bet = String(12n * ONE_TOKEN + ONE_TOKEN / 2n)
    await done(post(guessAnswer, { orgId, peerId: 'QmOwn', gameId, clueId: 0, choiceIdx: 1, bet }))
    await reward(orgId, 'QmOwn', 0, 4)
    await vote(orgId, 'QmOwn', 0, ['QmOther'])
    await advance(1)
    await vote(orgId, 'QmOwn', 1, ['QmOwn', 'QmOther'])
    await advance(1)
    await reward(orgId, 'QmOwn', 2, -1)
    expect((await freshStatus()).peers).toEqual([
      {
        peerId: 'QmOwn',
        name: animalName('QmOwn'),
        lastReward: { round: 2, reward: '-1' },
        lastVote: {
          round: 1,
          winners: ['QmOwn', 'QmOther'].map((peerId) => ({ peerId, name: animalName(peerId) })),
        },
        totalReward: '3',
        totalWins: '1',
        betTokens: '87.5',
      },
    ])
  })

  it('of each of several peers what it sent itself, though the contract sums rewards by account', async () => {
    const orgId = await logIn()
    for (const peerId of ['QmA', 'QmB', 'QmC']) await register(orgId, peerId)
    await reward(orgId, 'QmA', 0, 10)
    await reward(orgId, 'QmB', 0, 3)
    await advance(1)
    await reward(orgId, 'QmB', 1, 0)
    const { peers } = await freshStatus()
    expect(peers.map(({ peerId, lastReward, totalReward }) => [peerId, lastReward, totalReward])).toEqual([
      ['QmA', { round: 0, reward: '10' }, '10'],
      ['QmB', { round: 1, reward: '0' }, '3'],
      ['QmC', null, '0'],
    ])
  })

  it('nothing of rewards and votes that are older than ten rounds, and all that are not', async () => {
    const orgId = await logIn()
    await register(orgId, 'QmOld')
    await reward(orgId, 'QmOld', 0, 4)
    await vote(orgId, 'QmOld', 0, ['QmX'])
    await advance(9)
    expect((await freshStatus()).peers[0]).toMatchObject({ lastReward: { round: 0 }, lastVote: { round: 0 } })
    await advance(1)
    expect((await freshStatus()).peers[0]).toMatchObject({
      lastReward: null,
      lastVote: null,
      totalReward: '4',
    })
  })

  it('in words that the chain is away, and all that does not need the chain', async () => {
    const away = await Anvil.start()
    await away.stop()
    setEnvironment({ ...environ, SWARM_RPC_URL: away.rpcUrl })
    const orgId = await logIn()
    expect(await freshStatus()).toMatchObject({
      kind: 'login',
      account: { orgId },
      round: null,
      peers: [],
      trouble: expect.stringContaining('does not answer'),
    })
  })

  it('in words that no contract is set', async () => {
    setEnvironment({ ...environ, SWARM_CONTRACT_ADDRESS: '' })
    expect((await freshStatus()).trouble).toContain('SWARM_CONTRACT_ADDRESS')
  })
})

describe('the chain', () => {
  /** A way to the chain that counts what goes by. */
  async function countingProxy() {
    const counts = { requests: 0, largestBatch: 0, largestBody: 0 }
    const server = createServer(async (request, response) => {
      const body = await readText(request)
      const batch: unknown = JSON.parse(body)
      const size = Array.isArray(batch) ? batch.length : 1
      counts.requests += 1
      counts.largestBody = Math.max(counts.largestBody, body.length)
      counts.largestBatch = Math.max(counts.largestBatch, size)
      const answer = await fetch(anvil.rpcUrl, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      })
      response.setHeader('content-type', 'application/json').end(await answer.text())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    return {
      counts,
      url: `http://127.0.0.1:${port}`,
      close: () => new Promise((resolve) => server.close(resolve)),
    }
  }

  it('is asked little: a page with sixty peers costs a handful of requests, and ten pages no more than one', async () => {
    const orgId = await logIn()
    for (let count = 0; count < 60; count++) await register(orgId, `QmMany${count}`)
    await advance(12)
    const proxy = await countingProxy()
    setEnvironment({ ...environ, SWARM_RPC_URL: proxy.url })
    const { peers, trouble } = await freshStatus()
    expect(peers.map(({ peerId }) => peerId)).toEqual(
      Array.from({ length: 50 }, (_, count) => `QmMany${count + 10}`),
    )
    expect(trouble).toBe('Only the newest 50 of 60 peers are shown.')
    expect(proxy.counts.requests).toBeLessThan(20)
    // What a hub lets through at most.
    expect(proxy.counts.largestBatch).toBeLessThanOrEqual(40)
    expect(proxy.counts.largestBody).toBeLessThan(256 * 1024)
    const once = proxy.counts.requests
    // The first one also asked which chain it is, and whether there is a contract.
    expect(await freshStatuses(10)).toHaveLength(10)
    expect(proxy.counts.requests - once).toBeLessThanOrEqual(once)
    await proxy.close()
  })
})
