import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { Store, StoreDamaged } from '@/lib/store'
import type { ApiKey, UserData } from '@/lib/wallet/wallet'
import { temporaryFolder } from '../support/routes'

const ADDRESS = '0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf'
const SECRET = `0x${'5e'.repeat(32)}` as const

let folder: string
let store: Store
const usersFile = () => path.join(folder, 'userData.json')
const keysFile = () => path.join(folder, 'userApiKey.json')

beforeEach(() => {
  const made = temporaryFolder()
  folder = made.folder
  store = new Store(folder)
  return made.remove
})

const user = (orgId: string): UserData => ({
  orgId,
  address: ADDRESS,
  userId: `${orgId}-user`,
  email: 'a@b.c',
})
const key = (publicKey: string): ApiKey => ({
  publicKey,
  privateKey: SECRET,
  createdAt: '2026-01-02T03:04:05.000Z',
  activated: false,
})

async function logIn(orgId: string): Promise<void> {
  await store.change(({ users, keys }) => {
    users.set(orgId, user(orgId))
    keys.set(orgId, [key(`${orgId}-key`)])
  })
}

it('is empty where nobody has logged in yet', async () => {
  expect(await store.read()).toEqual({ users: new Map(), keys: new Map() })
  expect(readdirSync(folder)).toEqual([])
})

it('writes the two files as earlier versions and their clients know them', async () => {
  await logIn('org')
  expect(readFileSync(usersFile(), 'utf8')).toBe(`${JSON.stringify({ org: user('org') }, null, 2)}\n`)
  expect(readFileSync(keysFile(), 'utf8')).toBe(`${JSON.stringify({ org: [key('org-key')] }, null, 2)}\n`)
})

it('keeps the order of the users, of whom earlier launchers take the first', async () => {
  for (const orgId of ['b', 'a', 'c']) await logIn(orgId)
  await store.change((logins) => {
    logins.users = new Map([['new', user('new')], ...logins.users])
  })
  expect([...(await new Store(folder).read()).users.keys()]).toEqual(['new', 'b', 'a', 'c'])
})

it('makes files that only their owner can read, even over one that everybody could', async () => {
  await logIn('org')
  chmodSync(keysFile(), 0o644)
  await logIn('other')
  for (const file of [usersFile(), keysFile()]) expect(statSync(file).mode & 0o777).toBe(0o600)
})

it('closes a file that an earlier version left open to everybody, before it is read', async () => {
  await logIn('org')
  for (const file of [usersFile(), keysFile()]) chmodSync(file, 0o644)
  await store.read()
  for (const file of [usersFile(), keysFile()]) expect(statSync(file).mode & 0o777).toBe(0o600)
})

it('loses no change of fifty at once', async () => {
  await Promise.all(Array.from({ length: 50 }, (_, count) => logIn(`org${count}`)))
  const { users, keys } = await new Store(folder).read()
  expect([users.size, keys.size]).toEqual([50, 50])
})

it('keeps fields that it does not know', async () => {
  writeFileSync(usersFile(), JSON.stringify({ org: { ...user('org'), theme: 'dark' } }))
  await logIn('other')
  expect(JSON.parse(readFileSync(usersFile(), 'utf8')).org.theme).toBe('dark')
})

it('writes nothing when nothing changed', async () => {
  await store.change(() => undefined)
  expect(existsSync(usersFile())).toBe(false)
})

it('is not harmed by a draft that a crash left behind', async () => {
  await logIn('org')
  writeFileSync(`${keysFile()}.new`, '{"org": [{"publ')
  await logIn('other')
  expect([...(await store.read()).keys.keys()]).toEqual(['org', 'other'])
  expect(readdirSync(folder).sort()).toEqual(['userApiKey.json', 'userData.json'])
})

it('takes names of object properties for ordinary names', async () => {
  const { users, keys } = await store.read()
  for (const name of ['__proto__', 'constructor', 'toString']) {
    expect(users.get(name)).toBeUndefined()
    expect(keys.get(name)).toBeUndefined()
  }
})

describe('a damaged file', () => {
  it.each([
    ['half of it', '{"org": [{"publicKey": "a'],
    ['nothing in it', ''],
    ['a list', '[]'],
    ['a key without its private part', '{"org": [{"publicKey": "a", "createdAt": "", "activated": true}]}'],
    ['a private key that is none', JSON.stringify({ org: [{ ...key('a'), privateKey: 'abc' }] })],
  ])('(%s) is told, and never overwritten', async (_, content) => {
    writeFileSync(keysFile(), content)
    await expect(logIn('new')).rejects.toThrow(StoreDamaged)
    expect(readFileSync(keysFile(), 'utf8')).toBe(content)
    expect(existsSync(usersFile())).toBe(false)
  })

  it('is named in a sentence with the way out, which tells nothing of what is in it', async () => {
    writeFileSync(keysFile(), JSON.stringify({ org: [{ privateKey: SECRET, publicKey: 1 }] }))
    const failure = await store.read().catch((error: Error) => error.message)
    expect(failure).toContain(keysFile())
    expect(failure).toContain('move it away')
    expect(failure).not.toContain('5e5e')
  })

  it('does not keep later changes from working once it is repaired', async () => {
    writeFileSync(usersFile(), 'nonsense')
    await expect(logIn('org')).rejects.toThrow(StoreDamaged)
    writeFileSync(usersFile(), '{}')
    await logIn('org')
    expect((await store.read()).users.size).toBe(1)
  })
})

describe('a crash between the two files', () => {
  /** Lets the first of the two writes happen and stops the second. */
  async function crashAfterFirst(edit: Parameters<Store['change']>[0], second: string): Promise<void> {
    // A folder in the draft's place can be neither removed by name nor written.
    const { mkdirSync, rmdirSync } = await import('node:fs')
    mkdirSync(`${second}.new`)
    await expect(store.change(edit)).rejects.toThrow()
    rmdirSync(`${second}.new`)
  }

  it('leaves at worst a user without a key after a log-in', async () => {
    await crashAfterFirst(({ users, keys }) => {
      users.set('org', user('org'))
      keys.set('org', [key('k')])
    }, keysFile())
    const { users, keys } = await store.read()
    expect([[...users.keys()], [...keys.keys()]]).toEqual([['org'], []])
  })

  it('leaves at worst a user without a key after a log-out', async () => {
    await logIn('org')
    await crashAfterFirst(({ users, keys }) => {
      users.delete('org')
      keys.delete('org')
    }, usersFile())
    const { users, keys } = await store.read()
    expect([[...users.keys()], [...keys.keys()]]).toEqual([['org'], []])
  })
})
