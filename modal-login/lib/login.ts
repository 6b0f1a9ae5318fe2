import type { z } from 'zod'
import type { Context } from './context'
import type { Account } from './page'
import type { activationBody } from './schemas'
import type { Logins } from './store'
import { permissionDeadline } from './wallet/permission-deadline'
import { type ApiKey, canSign, type SigningKey, type UserData } from './wallet/wallet'

const SECONDS_A_DAY = 86_400
/** Keys that wait for their permission; more than one when somebody logs in from two windows at once. */
const MAX_PENDING_KEYS = 4

/** A key with which this server may act: the rest of what an activation tells is there. */
export type ActiveKey = SigningKey & Required<Pick<ApiKey, 'accountAddress'>>

/** Nobody of this orgId is logged in, or their key can't act any more; the message says what to do. */
export class UserNotFound extends Error {}

/** Log in: a key for whoever made the stamp, who is the current login from now on. Throws LoginRefused. */
export async function getApiKey(
  context: Context,
  whoamiStamp: unknown,
): Promise<{ publicKey: string; orgId: string }> {
  const wallet = await context.wallet()
  const user = await wallet.identify(whoamiStamp)
  const key = await wallet.newKey(user)
  await context.store.change((logins) => {
    const others = [...logins.users].filter(([orgId]) => orgId !== user.orgId)
    logins.users = new Map([[user.orgId, user], ...others])
    logins.keys.set(user.orgId, [...keysToKeep(logins, user, key), key])
  })
  return { publicKey: key.publicKey, orgId: user.orgId }
}

/** The user has given the key its permission. Throws UserNotFound. */
export async function activateApiKey(
  { store, settings }: Context,
  body: z.infer<typeof activationBody>,
): Promise<{ activated: true }> {
  await store.change((logins) => {
    const keys = loggedIn(logins, body.orgId) && logins.keys.get(body.orgId)
    const place = keys ? keys.findIndex((key) => key.publicKey === body.apiKey) : -1
    const key = keys?.[place]
    if (!keys || !key) throw new UserNotFound('This login server made no such key. Log in again.')
    // A key that can act stays as it is, whoever says what about it.
    if (key.activated) return
    keys[place] = {
      ...key,
      activated: true,
      accountAddress: body.accountAddress,
      initCode: body.initCode,
      deferredActionDigest: body.deferredActionDigest,
      expiresAt:
        key.expiresAt ??
        permissionDeadline(body.deferredActionDigest) ??
        secondsSinceEpoch(key.createdAt) + settings.sessionDays * SECONDS_A_DAY,
    }
  })
  return { activated: true }
}

/** Whether a key of this user can act. Throws UserNotFound. */
export async function apiKeyStatus({ store }: Context, orgId: string): Promise<'activated' | 'pending'> {
  const logins = await store.read()
  loggedIn(logins, orgId)
  return newestActive(logins, orgId) ? 'activated' : 'pending'
}

/** The key to act with for this user. Throws UserNotFound. */
export async function activeKey({ store }: Context, orgId: string): Promise<ActiveKey> {
  const logins = await store.read()
  const user = loggedIn(logins, orgId)
  const key = newestActive(logins, orgId)
  if (key) return key
  throw new UserNotFound(
    `The login of ${user.email ?? orgId} has expired or was never finished. Log in again on this server's page.`,
  )
}

/** Forget the user and all keys. Doing it twice is no fault. */
export async function logOut({ store }: Context, orgId: string): Promise<{ loggedOut: true }> {
  await store.change((logins) => {
    logins.users.delete(orgId)
    logins.keys.delete(orgId)
  })
  return { loggedOut: true }
}

/** The current login, which is the newest; null when nobody is logged in. */
export async function currentAccount({ store }: Context, tellEmail: boolean): Promise<Account | null> {
  const logins = await store.read()
  const user: UserData | undefined = logins.users.values().next().value
  if (!user) return null
  const keys = logins.keys.get(user.orgId) ?? []
  const active = newestActive(logins, user.orgId)
  // Expired only while nothing newer waits for its permission.
  const last = keys.at(-1)
  const shown = active ?? (last?.activated ? last : undefined)
  return {
    orgId: user.orgId,
    address: shown?.accountAddress ?? null,
    ...(tellEmail && user.email !== undefined ? { email: user.email } : {}),
    activation: active ? 'activated' : shown ? 'expired' : 'pending',
    expiresAt: shown?.expiresAt ?? null,
  }
}

function loggedIn(logins: Logins, orgId: string): UserData {
  const user = logins.users.get(orgId)
  if (user) return user
  throw new UserNotFound("Nobody is logged in under this orgId. Log in on this server's page.")
}

function newestActive(logins: Logins, orgId: string): ActiveKey | undefined {
  return logins.keys.get(orgId)?.findLast(isActive)
}

function isActive(key: ApiKey): key is ActiveKey {
  const isExpired = key.expiresAt !== undefined && key.expiresAt <= Date.now() / 1000
  return key.activated && key.accountAddress !== undefined && canSign(key) && !isExpired
}

/** What stays beside a new key: those that can act, which running nodes use, and the newest of those that wait. */
function keysToKeep(logins: Logins, user: UserData, made: ApiKey): ApiKey[] {
  const keys = (logins.keys.get(user.orgId) ?? []).filter((key) => key.publicKey !== made.publicKey)
  const waiting = keys.filter((key) => !key.activated).slice(1 - MAX_PENDING_KEYS)
  return keys.filter((key) => isActive(key) || waiting.includes(key))
}

function secondsSinceEpoch(iso: string): number {
  return Math.floor(Date.parse(iso) / 1000)
}
