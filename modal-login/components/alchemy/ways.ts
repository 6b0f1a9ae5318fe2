import type { AlchemySignerWebClient, User } from '@account-kit/signer'
import { LogInStopped } from './faults'
import { openFrame, SIGNER_SESSION_SECONDS } from './signer'

/** An email is on its way; its code (or the link in it) finishes the log-in. */
export interface EmailSent {
  email: string
  orgId: string
  /** Absent where the Alchemy project sends links instead of codes. */
  otpId?: string
}

/** Throws LogInStopped, or what the signer throws. The first time, this makes the account. */
export async function sendEmail(signer: AlchemySignerWebClient, email: string): Promise<EmailSent> {
  await openFrame(signer)
  const known = await signer.lookupUserByEmail(email)
  const request = { email, emailMode: 'otp', expirationSeconds: SIGNER_SESSION_SECONDS } as const
  const { orgId, otpId } = known.orgId
    ? await signer.initEmailAuth(request)
    : await signer.createAccount({ type: 'email', ...request })
  return { email, orgId, otpId }
}

/** `entered`: the code of the email, or the link in it, copied. */
export async function enterCode(
  signer: AlchemySignerWebClient,
  { orgId, otpId }: EmailSent,
  entered: string,
): Promise<User> {
  const bundle = bundleInLink(entered)
  if (bundle) {
    return await signer.completeAuthWithBundle({
      ...{ bundle, orgId, authenticatingType: 'email', connectedEventName: 'connectedEmail' },
    })
  }
  if (!otpId) throw new LogInStopped('The email has a link: copy it, and paste it here.')
  const answer = await signer.submitOtpCode({
    ...{ orgId, otpId, otpCode: entered.trim(), expirationSeconds: SIGNER_SESSION_SECONDS },
  })
  if (answer.mfaRequired) {
    throw new LogInStopped(
      'This account asks for a second factor, which this page can’t take. Use a passkey.',
    )
  }
  return await signer.completeAuthWithBundle({
    ...{ bundle: answer.bundle, orgId, authenticatingType: 'otp', connectedEventName: 'connectedOtp' },
  })
}

/** A passkey that this page has made before. */
export function withPasskey(signer: AlchemySignerWebClient): Promise<User> {
  return signer.lookupUserWithPasskey()
}

/** A new passkey makes a new account. */
export async function withNewPasskey(signer: AlchemySignerWebClient): Promise<User> {
  const { orgId, userId, address } = await signer.createAccount({ type: 'passkey', username: 'RL Swarm' })
  if (!userId || !address) throw new LogInStopped('Alchemy made no account for the passkey.')
  return { orgId, userId, address }
}

/** In a window of its own; EmailSent when Alchemy wants a code because the email has an account already. */
export async function withGoogle(signer: AlchemySignerWebClient): Promise<User | EmailSent> {
  await openFrame(signer)
  await signer.initOauth()
  const request = {
    ...({ type: 'oauth', authProviderId: 'google', mode: 'popup' } as const),
    expirationSeconds: SIGNER_SESSION_SECONDS,
  }
  const answer = await signer.oauthWithPopup(request)
  if (!('status' in answer)) return answer
  if (answer.status === 'ACCOUNT_LINKING_CONFIRMATION_REQUIRED') {
    return { email: answer.email, orgId: answer.orgId, otpId: answer.otpId }
  }
  throw new LogInStopped('Google told who you are, but Alchemy made no log-in of it.')
}

function bundleInLink(entered: string): string | null {
  return URL.canParse(entered.trim()) ? new URL(entered.trim()).searchParams.get('bundle') : null
}
