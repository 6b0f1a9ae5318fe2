import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { isAddressEqual } from 'viem'
import { privateKeyToAddress } from 'viem/accounts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { GET as account } from '@/app/api/account/route'
import { POST as getApiKey } from '@/app/api/get-api-key/route'
import { GET as apiKeyStatus } from '@/app/api/get-api-key-status/route'
import { POST as logOut } from '@/app/api/log-out/route'
import { POST as registerPeer } from '@/app/api/register-peer/route'
import { POST as setActivated } from '@/app/api/set-api-key-activated/route'
import { type Answer, get, post, setEnvironment, TOKEN, temporaryFolder } from '../support/routes'

const SMART_ACCOUNT = '0xFaD7C5e93f28257429569B854151A1B8DCD404c2'
const MADE = '2026-03-04T05:06:07.000Z'
const withToken = { authorization: `Bearer ${TOKEN}` }

let folder: string

beforeEach(() => {
  const data = temporaryFolder()
  folder = data.folder
  writeFileSync(path.join(folder, 'token'), TOKEN)
  setEnvironment({ LOGIN_DATA_DIR: folder })
  return data.remove
})

afterEach(() => {
  vi.useRealTimers()
})

const file = (name: 'userData' | 'userApiKey') =>
  JSON.parse(readFileSync(path.join(folder, `${name}.json`), 'utf8'))
const logIn = (email: string): Promise<Answer> => post(getApiKey, { whoamiStamp: { email } })

describe('logging in on the local network', () => {
  it('gives an account with a key of the server, activated at once', async () => {
    const { status, body } = await logIn('someone@example.org')
    expect(status).toBe(200)
    const [key] = file('userApiKey')[body.orgId]
    expect(body).toEqual({ orgId: expect.stringMatching(/^[0-9a-f-]{36}$/), publicKey: key.publicKey })
    expect(key).toMatchObject({ activated: true, initCode: '0x', deferredActionDigest: '0x' })
    expect(isAddressEqual(privateKeyToAddress(key.privateKey), key.accountAddress)).toBe(true)
    const shown = await get(apiKeyStatus, `?orgId=${body.orgId}`)
    expect(shown).toMatchObject({ status: 200, text: 'activated' })
  })

  it('is the same account for the same email, however it is written, and one key', async () => {
    const first = await logIn('someone@example.org')
    const again = await logIn('  Someone@Example.org ')
    expect(again.body).toEqual(first.body)
    expect(file('userApiKey')[first.body.orgId]).toHaveLength(1)
  })

  it('is another account for another email, and on another machine', async () => {
    const one = await logIn('one@example.org')
    const other = await logIn('other@example.org')
    const elsewhere = temporaryFolder()
    writeFileSync(path.join(elsewhere.folder, 'token'), TOKEN)
    setEnvironment({ LOGIN_DATA_DIR: elsewhere.folder })
    const away = await logIn('one@example.org')
    elsewhere.remove()
    expect(new Set([one, other, away].map(({ body }) => body.publicKey)).size).toBe(3)
    expect(new Set([one, other, away].map(({ body }) => body.orgId)).size).toBe(3)
  })

  it('is the same account again after logging out, so that its peers stay its own', async () => {
    const before = await logIn('someone@example.org')
    await post(logOut, { orgId: before.body.orgId })
    expect(await logIn('someone@example.org')).toEqual(before)
  })

  it.each([null, {}, { email: '' }, { email: '  ' }, { email: 7 }, 'someone', { email: 'x'.repeat(255) }])(
    'is refused with %j for a stamp',
    async (whoamiStamp) => {
      const { status, body } = await post(getApiKey, { whoamiStamp })
      expect(status).toBe(400)
      expect(body.error).toContain('email')
    },
  )
})

describe('the current login', () => {
  it('is nobody at first', async () => {
    expect(await get(account)).toMatchObject({ status: 200, body: null })
  })

  it('is the newest, which also stands first in userData.json', async () => {
    const one = await logIn('one@example.org')
    const other = await logIn('other@example.org')
    expect((await get(account)).body.orgId).toBe(other.body.orgId)
    await logIn('one@example.org')
    expect((await get(account)).body.orgId).toBe(one.body.orgId)
    expect(Object.keys(file('userData'))).toEqual([one.body.orgId, other.body.orgId])
  })

  it('tells the email only to those who have the token', async () => {
    await logIn('someone@example.org')
    expect((await get(account)).text).not.toContain('someone')
    expect((await get(account, '', withToken)).body.email).toBe('someone@example.org')
    expect((await get(account, '', { authorization: 'Bearer wrong' })).text).not.toContain('someone')
  })
})

describe('logging out', () => {
  it('removes the user and the keys, and leaves others logged in', async () => {
    const { body: stays } = await logIn('stays@example.org')
    const { body: goes } = await logIn('goes@example.org')
    expect(await post(logOut, { orgId: goes.orgId })).toMatchObject({
      status: 200,
      body: { loggedOut: true },
    })
    expect(Object.keys(file('userData'))).toEqual([stays.orgId])
    expect(Object.keys(file('userApiKey'))).toEqual([stays.orgId])
    expect((await get(apiKeyStatus, `?orgId=${goes.orgId}`)).status).toBe(404)
    expect((await get(account)).body.orgId).toBe(stays.orgId)
  })

  it('of somebody who is not logged in is no fault', async () => {
    expect((await post(logOut, { orgId: 'nobody' })).body).toEqual({ loggedOut: true })
  })
})

describe('a session key', () => {
  const pending = { publicKey: '02ab', privateKey: `0x${'11'.repeat(32)}`, createdAt: MADE, activated: false }
  const activation = {
    orgId: 'org',
    apiKey: '02ab',
    accountAddress: SMART_ACCOUNT,
    initCode: '0xaa',
    deferredActionDigest: '0xbb',
  }

  function given(...keys: object[]): void {
    const user = { orgId: 'org', userId: 'user', address: SMART_ACCOUNT, email: 'someone@example.org' }
    writeFileSync(path.join(folder, 'userData.json'), JSON.stringify({ org: user }))
    writeFileSync(path.join(folder, 'userApiKey.json'), JSON.stringify({ org: keys }))
  }

  it('is pending until the user has given it its permission', async () => {
    given(pending)
    expect((await get(apiKeyStatus, '?orgId=org')).text).toBe('pending')
    expect((await get(account)).body).toMatchObject({ activation: 'pending', address: null, expiresAt: null })
  })

  it('acts from then on, for LOGIN_SESSION_DAYS counted in seconds', async () => {
    vi.useFakeTimers({ now: new Date(MADE) })
    setEnvironment({ LOGIN_DATA_DIR: folder, LOGIN_SESSION_DAYS: '2' })
    given(pending)
    expect(await post(setActivated, activation)).toMatchObject({ status: 200, body: { activated: true } })
    expect((await get(apiKeyStatus, '?orgId=org')).text).toBe('activated')
    const expiresAt = Date.UTC(2026, 2, 6, 5, 6, 7) / 1000
    expect((await get(account)).body).toEqual({
      orgId: 'org',
      address: SMART_ACCOUNT,
      activation: 'activated',
      expiresAt,
    })
    expect(file('userApiKey').org[0]).toEqual({
      ...pending,
      activated: true,
      accountAddress: SMART_ACCOUNT,
      initCode: '0xaa',
      deferredActionDigest: '0xbb',
      expiresAt,
    })
  })

  it('ends when the permission says so, where it says when', async () => {
    given(pending)
    const ends = Date.UTC(2027, 0, 1) / 1000
    const before = `0x${'00'.repeat(1 + 32 + 4 + 21)}`
    const deferredActionDigest = `${before}${ends.toString(16).padStart(12, '0')}${'ab'.repeat(40)}`
    expect((await post(setActivated, { ...activation, deferredActionDigest })).status).toBe(200)
    expect((await get(account)).body).toMatchObject({ expiresAt: ends })
  })

  it('that has expired is told apart from one that never began, and acts no more', async () => {
    given({
      ...pending,
      activated: true,
      accountAddress: SMART_ACCOUNT,
      expiresAt: Math.floor(Date.now() / 1000) - 1,
    })
    expect((await get(account)).body).toMatchObject({ activation: 'expired', address: SMART_ACCOUNT })
    expect((await get(apiKeyStatus, '?orgId=org')).text).toBe('pending')
    const { status, body } = await post(registerPeer, { orgId: 'org', peerId: 'QmPeer' })
    expect(status).toBe(404)
    expect(body.error).toContain('Log in again')
  })

  it.each([true, false])(
    'of an earlier login server, activated %s, acts no more, and goes with a log-out',
    async (activated) => {
      // Of P-256, and so without 0x: nothing on the chain knows its signatures.
      const earlier = { ...pending, privateKey: '5e'.repeat(32), activated, accountAddress: SMART_ACCOUNT }
      given(earlier)
      expect((await get(account)).body).toMatchObject({ activation: activated ? 'expired' : 'pending' })
      expect((await get(apiKeyStatus, '?orgId=org')).text).toBe('pending')
      const { status, body } = await post(registerPeer, { orgId: 'org', peerId: 'QmPeer' })
      expect(status).toBe(404)
      expect(body.error).toContain('Log in again')
      expect(file('userApiKey').org).toEqual([earlier])
      expect((await post(logOut, { orgId: 'org' })).status).toBe(200)
      expect(file('userApiKey')).toEqual({})
    },
  )

  it('that can act stays as it is, whatever a later activation says', async () => {
    const active = { ...pending, activated: true, accountAddress: SMART_ACCOUNT, initCode: '0x01' }
    given(active)
    expect((await post(setActivated, activation)).status).toBe(200)
    expect(file('userApiKey').org).toEqual([active])
  })

  it.each([
    ['another user', { orgId: 'other' }],
    ['another key', { apiKey: '03cd' }],
  ])('is not activated by %s', async (_, fault) => {
    given(pending)
    const { status, body } = await post(setActivated, { ...activation, ...fault })
    expect(status).toBe(404)
    expect(body.error).toContain('Log in')
    expect(file('userApiKey').org).toEqual([pending])
  })
})

describe('asking for the status of a login', () => {
  it('answers bare text, as earlier launchers compare it', async () => {
    const { body } = await logIn('someone@example.org')
    const request = new Request(`http://localhost:3000/api/get-api-key-status?orgId=${body.orgId}`, {
      headers: { host: 'localhost:3000' },
    })
    const response = await apiKeyStatus(request)
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(await response.text()).toBe('activated')
  })

  it.each([
    ['?orgId=nobody', 404],
    ['?orgId=__proto__', 404],
    ['', 400],
  ])('with %j answers %i', async (query, status) => {
    expect((await get(apiKeyStatus, query)).status).toBe(status)
  })
})
