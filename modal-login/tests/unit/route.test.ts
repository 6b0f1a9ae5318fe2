import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { GET as account } from '@/app/api/account/route'
import { POST as betTokenBalance } from '@/app/api/bet-token-balance/route'
import { POST as claimReward } from '@/app/api/claim-reward/route'
import { POST as getApiKey } from '@/app/api/get-api-key/route'
import { GET as apiKeyStatus } from '@/app/api/get-api-key-status/route'
import { POST as guessAnswer } from '@/app/api/guess-answer/route'
import { GET as health } from '@/app/api/health/route'
import { POST as logOut } from '@/app/api/log-out/route'
import { POST as registerPeer } from '@/app/api/register-peer/route'
import { POST as setActivated } from '@/app/api/set-api-key-activated/route'
import { GET as status } from '@/app/api/status/route'
import { POST as submitReward } from '@/app/api/submit-reward/route'
import { POST as submitWinner } from '@/app/api/submit-winner/route'
import { get, post, setEnvironment, TOKEN, temporaryFolder } from '../support/routes'

const POSTS = Object.entries({
  'get-api-key': getApiKey,
  'set-api-key-activated': setActivated,
  'log-out': logOut,
  'register-peer': registerPeer,
  'submit-reward': submitReward,
  'submit-winner': submitWinner,
  'guess-answer': guessAnswer,
  'claim-reward': claimReward,
  'bet-token-balance': betTokenBalance,
})
const GETS = Object.entries({ account, health, status, 'get-api-key-status': apiKeyStatus })

let folder: string
const logInBody = { whoamiStamp: { email: 'someone@example.org' } }

beforeEach(() => {
  const data = temporaryFolder()
  folder = data.folder
  writeFileSync(path.join(folder, 'token'), TOKEN)
  setEnvironment({ LOGIN_DATA_DIR: folder })
  return data.remove
})

const filesThere = () => readdirSync(folder).sort()

it('has a test here for every route there is', () => {
  const routes = readdirSync(path.resolve(import.meta.dirname, '../../app/api'))
  expect(routes.sort()).toEqual([...POSTS, ...GETS].map(([name]) => name).sort())
})

describe.each(POSTS)('POST %s', (_, route) => {
  it.each([
    ['without the token', { authorization: null }, 401],
    ['with another token', { authorization: `Bearer ${TOKEN}x` }, 401],
    ['with the token in another scheme', { authorization: `Basic ${TOKEN}` }, 401],
    ['with an empty token', { authorization: 'Bearer ' }, 401],
    ['under a host name of somebody else', { host: 'evil.test:3000' }, 403],
    ['from a page of another site', { origin: 'http://evil.test' }, 403],
    [
      'from another port of this machine',
      { origin: 'http://localhost:8080', 'sec-fetch-site': 'same-site' },
      403,
    ],
    ['from a form of another site, which names no origin', { 'sec-fetch-site': 'cross-site' }, 403],
    ['as the text that a form can send', { 'content-type': 'text/plain' }, 415],
    ['without a type', { 'content-type': null }, 415],
  ])('%s is refused and changes nothing', async (__, headers, expected) => {
    const answer = await post(route, logInBody, headers)
    expect(answer.status).toBe(expected)
    expect(answer.body.error).toMatch(/\.$/)
    expect(filesThere()).toEqual(['token'])
  })

  it.each([
    ['nothing', '', 400],
    ['no JSON', '{"orgId":', 400],
    ['JSON that is no object', '[]', 400],
    ['null', 'null', 400],
    ['wrong types', { orgId: 7, peerId: { a: 1 }, whoamiStamp: 5, apiKey: [] }, 400],
    ['more than 64 KiB', JSON.stringify({ ...logInBody, orgId: 'x'.repeat(64 * 1024) }), 413],
  ])('with %s as its body is refused and changes nothing', async (__, body, expected) => {
    const answer = await post(route, body)
    expect(answer.status).toBe(expected)
    expect(filesThere().filter((name) => name.startsWith('user'))).toEqual([])
  })
})

describe.each(GETS)('GET %s', (_, route) => {
  it('under a host name of somebody else is refused', async () => {
    expect((await get(route, '?orgId=org', { host: 'evil.test' })).status).toBe(403)
  })

  it('from a page of another site is refused', async () => {
    expect((await get(route, '?orgId=org', { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
  })

  it('sends no CORS header, and is never kept by a cache', async () => {
    const headers = { host: 'localhost:3000', origin: 'http://localhost:3000' }
    const response = await route(new Request('http://localhost:3000/api/x', { headers }))
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    expect(response.headers.get('cache-control')).toBe('no-store')
  })
})

it('stops reading a body at the limit, however long it says to be', async () => {
  let given = 0
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      given += 16_384
      controller.enqueue(new Uint8Array(16_384).fill(0x20))
    },
  })
  const request = new Request('http://localhost:3000/api/x', {
    method: 'POST',
    headers: { host: 'localhost:3000', authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: endless,
    duplex: 'half',
  } as RequestInit)
  expect((await getApiKey(request)).status).toBe(413)
  expect(given).toBeLessThan(256 * 1024)
})

describe('LOGIN_ALLOW_UNAUTHENTICATED=1, for clients that know no token,', () => {
  beforeEach(() => setEnvironment({ LOGIN_DATA_DIR: folder, LOGIN_ALLOW_UNAUTHENTICATED: '1' }))

  it('lets a program in without one', async () => {
    expect((await post(getApiKey, logInBody, { authorization: null })).status).toBe(200)
  })

  it.each([
    [{ origin: 'http://evil.test' }, 403],
    [{ host: 'evil.test' }, 403],
    [{ 'content-type': 'text/plain' }, 415],
  ])('still refuses %j', async (headers, expected) => {
    expect((await post(getApiKey, logInBody, { authorization: null, ...headers })).status).toBe(expected)
    expect(filesThere()).toEqual(['token'])
  })
})

it('never answers with a private key, nor with the secret that all keys follow from', async () => {
  const { body } = await post(getApiKey, logInBody)
  const { orgId, publicKey } = body
  const activation = {
    ...{ orgId, apiKey: publicKey, accountAddress: `0x${'1'.repeat(40)}` },
    ...{ initCode: '0x', deferredActionDigest: '0x' },
  }
  const move = { orgId, peerId: 'QmPeer', gameId: 1, clueId: 1, choiceIdx: 1, bet: 1 }
  const round = { orgId, peerId: 'QmPeer', roundNumber: 0, stageNumber: 0, reward: 1, winners: ['QmPeer'] }
  const bodies = { ...activation, ...move, ...round, ...logInBody }
  const answers = [
    ...(await Promise.all(
      GETS.map(([, route]) => get(route, `?orgId=${orgId}`, { authorization: `Bearer ${TOKEN}` })),
    )),
    ...(await Promise.all(POSTS.map(([, route]) => post(route, bodies)))),
  ]
  const secrets = readdirSync(folder)
    .map((name) => readFileSync(path.join(folder, name), 'utf8'))
    .flatMap((text) => text.match(/[0-9a-f]{64}/gi) ?? [])
  expect(answers.length).toBe(POSTS.length + GETS.length)
  // Log out came last, so look at the key as it is derived again.
  await post(getApiKey, logInBody)
  const [key] = JSON.parse(readFileSync(path.join(folder, 'userApiKey.json'), 'utf8'))[orgId]
  secrets.push(key.privateKey.slice(2), TOKEN)
  for (const { text } of answers) {
    for (const secret of secrets.filter((found) => !publicKey.includes(found)))
      expect(text).not.toContain(secret)
  }
})

it('tells nobody how it failed when it did not expect to, and its own log everything', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  const blocked = path.join(folder, 'token', 'below-a-file')
  setEnvironment({ LOGIN_DATA_DIR: blocked })
  const { status, body } = await post(getApiKey, logInBody)
  expect(status).toBe(500)
  expect(body.error).not.toContain(folder)
  expect(body.error).toContain('logs/yarn.log')
  expect(String(log.mock.calls[0]?.[0])).toContain('ENOTDIR')
  log.mockRestore()
})
