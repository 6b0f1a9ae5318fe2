import { OauthCancelledError } from '@account-kit/signer'
import { BaseError } from 'viem'
import { ApiError } from '@/lib/browser/api'
import { WalletUnavailable } from '@/lib/wallet/wallet'

/** The log-in can't go on; the message is a sentence for the user. */
export class LogInStopped extends Error {}

/** What went wrong, in a sentence for the user; whatever the services throw. */
export function sentence(error: unknown): string {
  if (error instanceof LogInStopped || error instanceof ApiError || error instanceof WalletUnavailable) {
    return error.message
  }
  if (error instanceof OauthCancelledError) return 'The Google window was closed.'
  if (error instanceof BaseError) return `The chain can't be asked: ${error.shortMessage}`
  if (!(error instanceof Error)) return 'The log-in failed, and nobody said why.'
  return browserFault(error) ?? signerFault(error.message)
}

function browserFault(error: Error): string | undefined {
  switch (nameOf(error)) {
    case 'NotAllowedError':
    case 'AbortError':
      return 'The passkey request was cancelled, or took too long.'
    case 'SecurityError':
      return `Passkeys work where the page is opened as http://localhost:${location.port || 80}, not by number.`
    case 'TypeError':
      return 'Alchemy does not answer. Are you online?'
    default:
      return undefined
  }
}

/** The browser's own error may be wrapped by the library that asked for the passkey. */
function nameOf(error: Error): string {
  return error.cause instanceof Error ? nameOf(error.cause) : error.name
}

/** The signer's answers are text or JSON with an `error`. */
function signerFault(answer: string): string {
  const said = errorIn(answer).trim().slice(0, 200)
  if (/otp|code/i.test(said) && /invalid|incorrect|wrong|expired/i.test(said)) {
    return 'That is not the code of the newest email, or it is too old.'
  }
  return said ? `Alchemy says: ${said}` : 'Alchemy refuses the log-in, and does not say why.'
}

function errorIn(answer: string): string {
  try {
    const { error, message } = JSON.parse(answer) as { error?: unknown; message?: unknown }
    return String(error ?? message ?? '')
  } catch (fault) {
    if (fault instanceof SyntaxError) return answer
    throw fault
  }
}
