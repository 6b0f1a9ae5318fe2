import { BaseError, HttpRequestError } from 'viem'
import { contractErrorName } from '../contract-errors'
import { ContractRefused, WalletUnavailable } from './wallet'

const LOG_IN_AGAIN = 'Log in again on the page of this login server.'
export const LOGIN_EXPIRED = `The login has expired. ${LOG_IN_AGAIN}`

/** What account-kit's failure means for whoever asked for the operation; failures that aren't its own are rethrown. */
export function explained(error: unknown): Error {
  if (error instanceof WalletUnavailable || error instanceof ContractRefused) return error
  const contractError = contractErrorName(error)
  if (contractError) return new ContractRefused(contractError)
  if (!(error instanceof BaseError)) throw error
  // Not `message`: it holds the whole request, which has all of these words in it.
  const text = `${error.shortMessage} ${error.details ?? ''}`
  return loginFault(error, text) ?? serviceFault(error, text)
}

/**
 * `AA…` are the entry point's own codes for what it has against an operation (ERC-4337). Unavailable, not refused: once
 * the user has logged in again, the same call goes through.
 */
function loginFault(error: BaseError, text: string): WalletUnavailable | undefined {
  if (/\bAA22\b/.test(text)) return new WalletUnavailable(LOGIN_EXPIRED, { cause: error })
  const isPermissionGone = /\bAA2[34]\b/.test(text) || error.name === 'InvalidDeferredActionNonce'
  if (!isPermissionGone) return undefined
  return new WalletUnavailable(
    `The account doesn't accept this server's key: its permission is used up, withdrawn or expired. ${LOG_IN_AGAIN}`,
    { cause: error },
  )
}

function serviceFault(error: BaseError, text: string): WalletUnavailable {
  const http = error.walk((cause) => cause instanceof HttpRequestError) as HttpRequestError | null
  const say = (sentence: string) => new WalletUnavailable(sentence, { cause: error })
  if (http?.status === 401 || http?.status === 403) {
    return say('Alchemy refuses the API key. Check NEXT_PUBLIC_ALCHEMY_API_KEY.')
  }
  if (http?.status === 429)
    return say('Alchemy says that there were too many requests. Try again in a minute.')
  if (http || error.walk((cause) => cause instanceof Error && cause.name === 'TimeoutError')) {
    return say("Alchemy's bundler does not answer. Is this machine online?")
  }
  const details = shortDetails(error)
  if (/policy|sponsor|paymaster|\bAA3\d\b/i.test(text)) {
    return say(
      `Alchemy does not pay for the operation. Check NEXT_PUBLIC_PAYMASTER_POLICY_ID. It says: ${details}`,
    )
  }
  return say(`Alchemy's bundler does not take the operation: ${details}`)
}

/** Without addresses, whose path may hold the API key. */
function shortDetails(error: BaseError): string {
  return (error.details || error.shortMessage).replace(/https?:\/\/\S+/g, 'its server').slice(0, 300)
}
