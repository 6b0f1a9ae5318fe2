import { isAddress } from 'viem'
import { z } from 'zod'
import type { Settings } from '../settings'
import { LoginRefused, type UserData, WalletUnavailable } from './wallet'

const ANSWER_TIMEOUT_MS = 15_000
const MAX_ANSWER_CHARACTERS = 64 * 1024

/** A request that the user's key at the signer has signed; `url` says where it could be sent, and is never asked. */
const signedRequest = z.object({
  url: z.string().max(1024),
  body: z.string().max(8192),
  stamp: z.object({ stampHeaderName: z.string().max(64), stampHeaderValue: z.string().max(8192) }),
})

const whoIs = z.object({
  orgId: z.string().min(1).max(128),
  userId: z.string().min(1).max(128),
  address: z.custom<`0x${string}`>(
    (value) => typeof value === 'string' && isAddress(value, { strict: false }),
  ),
  email: z.string().max(254).nullish(),
})

/**
 * Ask Alchemy's signer, and only it, who signed this "who am I" request. Throws LoginRefused when it knows nobody by it,
 * WalletUnavailable when it doesn't answer.
 */
export async function whoami(settings: Settings, whoamiStamp: unknown): Promise<UserData> {
  const stamped = signedRequest.safeParse(whoamiStamp)
  if (!stamped.success) {
    throw new LoginRefused('This is no signed "who am I" request. Log in on the page of this login server.')
  }
  const response = await ask(settings, stamped.data)
  if (response.status === 429 || response.status >= 500) {
    throw new WalletUnavailable(
      `Alchemy's signer is not to be had now (${response.status}). Try again in a minute.`,
    )
  }
  if (!response.ok) {
    throw new LoginRefused(
      `Alchemy's signer does not know this login (${response.status}). Log in again; if that doesn't help, check ` +
        'NEXT_PUBLIC_ALCHEMY_API_KEY.',
    )
  }
  const user = whoIs.safeParse(parsed(await response.text()))
  if (!user.success)
    throw new WalletUnavailable("Alchemy's signer gave an answer that this version can't read.")
  const { orgId, userId, address, email } = user.data
  return { orgId, address, userId, ...(email ? { email } : {}) }
}

async function ask({ alchemy }: Settings, stampedRequest: z.infer<typeof signedRequest>): Promise<Response> {
  try {
    return await fetch(`${alchemy.signerUrl.replace(/\/+$/, '')}/v1/whoami`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(alchemy.apiKey ? { authorization: `Bearer ${alchemy.apiKey}` } : {}),
      },
      body: JSON.stringify({ stampedRequest }),
      // Nobody but the signer itself gets the key and the stamp.
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    })
  } catch (error) {
    throw new WalletUnavailable("Alchemy's signer does not answer. Is this machine online?", { cause: error })
  }
}

function parsed(text: string): unknown {
  if (text.length > MAX_ANSWER_CHARACTERS) return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
