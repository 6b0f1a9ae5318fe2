import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Address, getAddress, type Hash, type Hex, zeroHash } from 'viem'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { POST as betTokenBalance } from '@/app/api/bet-token-balance/route'
import { POST as claimReward } from '@/app/api/claim-reward/route'
import { POST as getApiKey } from '@/app/api/get-api-key/route'
import { POST as guessAnswer } from '@/app/api/guess-answer/route'
import { POST as logOut } from '@/app/api/log-out/route'
import { POST as registerPeer } from '@/app/api/register-peer/route'
import { POST as submitReward } from '@/app/api/submit-reward/route'
import { POST as submitWinner } from '@/app/api/submit-winner/route'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { Market, ONE_TOKEN } from '../support/market'
import { type Answer, post, setEnvironment, TOKEN, temporaryFolder } from '../support/routes'

let anvil: Anvil
let swarm: Address
let market: Market
let environ: Record<string, string>

beforeAll(async () => {
  anvil = await Anvil.start()
  swarm = await anvil.deploySwarm()
  market = await Market.deploy(anvil, swarm)
})

afterAll(async () => {
  await anvil.stop()
})

beforeEach(() => {
  const data = temporaryFolder()
  writeFileSync(path.join(data.folder, 'token'), TOKEN)
  environ = {
    LOGIN_DATA_DIR: data.folder,
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: anvil.rpcUrl,
    SWARM_CONTRACT_ADDRESS: swarm,
    PRG_CONTRACT_ADDRESS: market.address,
  }
  setEnvironment(environ)
  return data.remove
})

let peers = 0
/** A peer id that no other test has. */
const newPeer = () => `QmPeer${++peers}`

async function logIn(email = 'someone@example.org'): Promise<string> {
  const { status, body } = await post(getApiKey, { whoamiStamp: { email } })
  expect(status).toBe(200)
  return body.orgId
}

/** A login with one registered peer. */
async function logInWithPeer(email?: string): Promise<{ orgId: string; peerId: string }> {
  const login = { orgId: await logIn(email), peerId: newPeer() }
  expect((await post(registerPeer, login)).status).toBe(200)
  return login
}

const reward = (login: { orgId: string; peerId: string }, roundNumber = 0, amount = 5) =>
  post(submitReward, { ...login, roundNumber, stageNumber: 0, reward: amount })

const vote = (login: { orgId: string; peerId: string }, winners: string[], roundNumber = 0) =>
  post(submitWinner, { ...login, roundNumber, winners })

async function transactionOf({ status, body }: Answer) {
  expect(status).toBe(200)
  expect(Object.keys(body)).toEqual(['hash'])
  const receipt = await anvil.client.getTransactionReceipt({ hash: body.hash })
  expect(receipt.status).toBe('success')
  return await anvil.client.getTransaction({ hash: body.hash })
}

describe('registering a peer', () => {
  it("makes it the account's, in a transaction that is in a block by the time of the answer", async () => {
    const [orgId, peerId] = [await logIn(), newPeer()]
    const { from } = await transactionOf(await post(registerPeer, { orgId, peerId }))
    expect(await anvil.ownerOf(swarm, peerId)).toBe(getAddress(from))
  })

  it('a second time is no fault and no transaction', async () => {
    const login = await logInWithPeer()
    const before = await anvil.client.getBlockNumber()
    expect(await post(registerPeer, login)).toMatchObject({ status: 200, body: { hash: zeroHash } })
    expect(await anvil.client.getBlockNumber()).toBe(before)
  })

  it('that is another account’s is refused by the name of the error', async () => {
    const { peerId } = await logInWithPeer('first@example.org')
    const orgId = await logIn('second@example.org')
    expect(await post(registerPeer, { orgId, peerId })).toMatchObject({
      status: 400,
      body: { error: 'PeerIdAlreadyRegistered' },
    })
  })

  it('from ten requests at once makes one transaction, and all succeed', async () => {
    const login = { orgId: await logIn(), peerId: newPeer() }
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(registerPeer, login)))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(new Set(answers.map(({ body }) => body.hash)).size).toBe(2)
  })
})

describe('rewards and votes', () => {
  it('reach the contract, negative rewards too', async () => {
    const login = await logInWithPeer()
    await transactionOf(await reward(login, 0, -7))
    await transactionOf(await vote(login, ['QmA', 'QmB']))
    expect(await anvil.reads(swarm).getTotalRewards([[login.peerId]])).toEqual([-7n])
    expect(await anvil.reads(swarm).getVoterVotes([0n, login.peerId])).toEqual(['QmA', 'QmB'])
  })

  it.each<[string, (login: { orgId: string; peerId: string }) => Promise<Answer>]>([
    ['RewardAlreadySubmitted', (login) => reward(login).then(() => reward(login))],
    ['WinnerAlreadyVoted', (login) => vote(login, ['QmA']).then(() => vote(login, ['QmB']))],
    ['InvalidRoundNumber', (login) => reward(login, 99)],
    ['InvalidRoundNumber', (login) => vote(login, ['QmA'], 99)],
    [
      'InvalidStageNumber',
      (login) => post(submitReward, { ...login, roundNumber: 0, stageNumber: 9, reward: 1 }),
    ],
    ['InvalidVote', (login) => vote(login, [])],
    ['InvalidVote', (login) => vote(login, ['QmA', 'QmA'])],
    ['InvalidVoterPeerId', (login) => reward({ ...login, peerId: 'QmNobodys' })],
    ['InvalidVoterPeerId', (login) => vote({ ...login, peerId: 'QmNobodys' }, ['QmA'])],
  ])('that the contract refuses answer 400 with its error: %s', async (error, attempt) => {
    const answer = await attempt(await logInWithPeer())
    expect(answer).toMatchObject({ status: 400, body: { error } })
  })
})

describe('the prediction market', () => {
  type Login = { orgId: string; peerId: string }
  const bet = (login: Login, gameId: bigint, amount: bigint | string, { clueId = 0, choiceIdx = 2 } = {}) =>
    post(guessAnswer, { ...login, gameId: String(gameId), clueId, choiceIdx, bet: String(amount) })
  const claim = (login: Login, gameId: bigint) => post(claimReward, { ...login, gameId: String(gameId) })
  const balance = async (login: Login) => (await post(betTokenBalance, login)).body.result

  it('gets bets to the last of their eighteen digits, as plain JSON numbers too', async () => {
    const login = await logInWithPeer()
    const [game, amount] = [await market.newGame(), 12_500_000_000_000_000_001n]
    await market.nextClue(game)
    const body = `{"orgId": "${login.orgId}", "peerId": "${login.peerId}", "gameId": ${game}, "clueId": 1, "choiceIdx": 2, "bet": ${amount}}`
    const { to } = await transactionOf(await post(guessAnswer, body))
    expect(getAddress(to as Hex)).toBe(getAddress(market.address))
    expect(await market.reads.choiceBets([game, 2n, login.peerId])).toBe(amount)
    expect(await market.reads.hasGuessed([game, 1n, login.peerId])).toBe(true)
    expect(await balance(login)).toBe(String(100n * ONE_TOKEN - amount))
  })

  it('welcomes a registered peer, and tells its balance in its smallest unit, as text', async () => {
    const { status, body } = await post(betTokenBalance, await logInWithPeer())
    expect([status, body]).toEqual([200, { result: '100000000000000000000' }])
    expect(await balance({ orgId: await logIn(), peerId: newPeer() })).toBe('0')
  })

  it('pays the winner of two out through claim-reward', async () => {
    const winner = await logInWithPeer('winner@example.org')
    const loser = await logInWithPeer('loser@example.org')
    const game = await market.newGame()
    await transactionOf(await bet(winner, game, 30n * ONE_TOKEN))
    await transactionOf(await bet(loser, game, 45n * ONE_TOKEN, { choiceIdx: 0 }))
    await market.reveal(game, 2)
    await transactionOf(await claim(winner, game))
    expect(await balance(winner)).toBe(String(145n * ONE_TOKEN))
    expect(await claim(loser, game)).toMatchObject({ status: 400, body: { error: 'NothingToClaim' } })
  })

  it.each<[string, (login: Login, game: bigint) => Promise<Answer>]>([
    ['AlreadyGuessed', (login, game) => bet(login, game, ONE_TOKEN).then(() => bet(login, game, ONE_TOKEN))],
    ['InvalidRound', (login, game) => bet(login, game, ONE_TOKEN, { clueId: 1 })],
    ['InvalidChoice', (login, game) => bet(login, game, ONE_TOKEN, { choiceIdx: 4 })],
    ['InvalidBet', (login, game) => bet(login, game, 0n)],
    ['InsufficientBalance', (login, game) => bet(login, game, 101n * ONE_TOKEN)],
    ['NotPeerOwner', (login, game) => bet({ ...login, peerId: 'QmNobodys' }, game, ONE_TOKEN)],
    ['GameNotFound', (login) => bet(login, 10n ** 6n, ONE_TOKEN)],
    ['GameNotOpen', (login, game) => market.reveal(game, 0).then(() => bet(login, game, ONE_TOKEN))],
    ['GameStillOpen', (login, game) => bet(login, game, ONE_TOKEN).then(() => claim(login, game))],
    [
      'AlreadyClaimed',
      async (login, game) => {
        await bet(login, game, ONE_TOKEN)
        await market.reveal(game, 2)
        await claim(login, game)
        return await claim(login, game)
      },
    ],
  ])('that refuses is answered 400 with its error: %s', async (error, attempt) => {
    const answer = await attempt(await logInWithPeer(), await market.newGame())
    expect(answer).toMatchObject({ status: 400, body: { error } })
  })

  it('that a network does not have is told in a sentence', async () => {
    const login = await logInWithPeer()
    setEnvironment({ ...environ, PRG_CONTRACT_ADDRESS: '' })
    const { status, body } = await post(claimReward, { ...login, gameId: 3 })
    expect(status).toBe(500)
    expect(body.error).toContain('no prediction market')
  })
})

describe('several nodes under one login', () => {
  it('lose nothing and never collide when they send twenty writes at once', async () => {
    const first = await logInWithPeer()
    const second = { ...first, peerId: newPeer() }
    await post(registerPeer, second)
    for (let round = 0; round < 5; round++) await anvil.advanceRound(swarm)
    const now = Number(await anvil.reads(swarm).currentRound())
    const rounds = [now - 4, now - 3, now - 2, now - 1, now]
    const answers = await Promise.all(
      [first, second].flatMap((node) =>
        rounds.flatMap((round) => [reward(node, round, round), vote(node, [first.peerId], round)]),
      ),
    )
    expect(answers.map(({ status, body }) => body.error ?? status)).toEqual(Array(20).fill(200))
    const nonces = await Promise.all(
      answers.map(async ({ body }) => (await anvil.client.getTransaction({ hash: body.hash as Hash })).nonce),
    )
    expect([...nonces].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, place) => place + Math.min(...nonces)),
    )
    const sum = rounds.reduce((a, b) => a + BigInt(b), 0n)
    expect(await anvil.reads(swarm).getTotalRewards([[first.peerId, second.peerId]])).toEqual([sum, sum])
  })

  it('do not wait for the failures of each other', async () => {
    const login = await logInWithPeer()
    const [refused, done] = await Promise.all([reward(login, 99), reward(login)])
    expect([refused.status, done.status]).toEqual([400, 200])
  })
})

describe('who is not logged in', () => {
  it('is told so', async () => {
    const { status, body } = await post(registerPeer, { orgId: 'nobody', peerId: newPeer() })
    expect(status).toBe(404)
    expect(body.error).toContain('Log in')
  })

  it('any more can send nothing, though others still can', async () => {
    const [stays, goes] = [await logInWithPeer('stays@example.org'), await logInWithPeer('goes@example.org')]
    await post(logOut, { orgId: goes.orgId })
    expect((await reward(goes)).status).toBe(404)
    expect((await reward(stays)).status).toBe(200)
    await logIn('goes@example.org')
    expect((await reward(goes)).status).toBe(200)
  })
})

describe('a chain that cannot be used', () => {
  async function failure(changed: Record<string, string>): Promise<string> {
    const orgId = await logIn()
    setEnvironment({ ...environ, ...changed })
    const { status, body } = await post(registerPeer, { orgId, peerId: newPeer() })
    expect(status).toBe(500)
    return body.error
  }

  it('because it is away, is told in a sentence that does not give away an API key', async () => {
    const away = await Anvil.start()
    await away.stop()
    const error = await failure({ SWARM_RPC_URL: `${away.rpcUrl}/v2/api-key` })
    expect(error).toBe(`The chain at ${away.rpcUrl} does not answer. Is it running, and this machine online?`)
  })

  it('because it is another chain', async () => {
    expect(await failure({ SWARM_CHAIN_ID: '685685' })).toContain(`is number ${CHAIN_ID}, not 685685`)
  })

  it('because the contract is not there, where a transaction would do nothing and succeed', async () => {
    expect(await failure({ SWARM_CONTRACT_ADDRESS: `0x${'12'.repeat(20)}` })).toContain(
      'no contract at 0x1212',
    )
  })
})
