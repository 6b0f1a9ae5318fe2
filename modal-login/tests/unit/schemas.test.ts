import { describe, expect, it } from 'vitest'
import {
  activationBody,
  guessAnswerBody,
  registerPeerBody,
  submitRewardBody,
  submitWinnerBody,
} from '@/lib/schemas'

const reward = { orgId: 'org', roundNumber: 3, stageNumber: 0, reward: -2, peerId: 'QmPeer' }
const MAX_UINT = 2n ** 256n - 1n

describe('a reward', () => {
  it('may be negative', () => {
    expect(submitRewardBody.parse(reward)).toMatchObject({ roundNumber: 3n, stageNumber: 0n, reward: -2n })
  })

  it.each([
    ['a fraction', { reward: 1.5 }],
    ['text', { reward: 'much' }],
    ['a number written in another base', { reward: '0x10' }],
    ['more than int256 holds', { reward: String(2n ** 255n) }],
    ['null', { reward: null }],
    ['a list', { reward: [1] }],
  ])('is not %s', (_, fault) => {
    expect(submitRewardBody.safeParse({ ...reward, ...fault }).success).toBe(false)
  })

  it('is of a round that is not negative', () => {
    expect(submitRewardBody.safeParse({ ...reward, roundNumber: -1 }).success).toBe(false)
  })
})

it('takes a bet of any size that the contract takes, as digits too', () => {
  const guess = { orgId: 'org', peerId: 'QmPeer', gameId: 1, clueId: 0, choiceIdx: 2, bet: String(MAX_UINT) }
  expect(guessAnswerBody.parse(guess).bet).toBe(MAX_UINT)
  expect(guessAnswerBody.safeParse({ ...guess, bet: String(MAX_UINT + 1n) }).success).toBe(false)
})

it.each([[''], [7], [null], ['x'.repeat(257)], [['QmPeer']], [{ toString: 'QmPeer' }]])(
  'does not take %j for a peer id',
  (peerId) => {
    expect(registerPeerBody.safeParse({ orgId: 'org', peerId }).success).toBe(false)
  },
)

it('lets the contract judge an empty or repeated vote', () => {
  const vote = { orgId: 'org', roundNumber: 0, peerId: 'QmPeer' }
  expect(submitWinnerBody.safeParse({ ...vote, winners: [] }).success).toBe(true)
  expect(submitWinnerBody.safeParse({ ...vote, winners: ['a', 'a'] }).success).toBe(true)
})

it('bounds the number of winners, which the contract compares pair by pair', () => {
  const winners = Array.from({ length: 101 }, (_, place) => `QmPeer${place}`)
  expect(
    submitWinnerBody.safeParse({ orgId: 'org', roundNumber: 0, winners, peerId: 'QmPeer' }).success,
  ).toBe(false)
})

it.each([['initCode'], ['deferredActionDigest'], ['accountAddress']])(
  'takes only hexadecimal for %s',
  (field) => {
    const activation = {
      orgId: 'org',
      apiKey: '02ab',
      accountAddress: '0xFaD7C5e93f28257429569B854151A1B8DCD404c2',
      initCode: '0x',
      deferredActionDigest: '0xab',
    }
    expect(activationBody.safeParse(activation).success).toBe(true)
    expect(activationBody.safeParse({ ...activation, [field]: '0xzz' }).success).toBe(false)
    expect(activationBody.safeParse({ ...activation, [field]: undefined }).success).toBe(false)
  },
)
