import type { Address, Hex } from 'viem'
import type { Account, PageStatus } from '@/lib/page'

/** The server says no, or doesn't answer; the message is a sentence for the user. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status: number,
  ) {
    super(message)
  }
}

export interface Activation {
  orgId: string
  /** The public key that `getApiKey` gave. */
  apiKey: string
  accountAddress: Address
  initCode: Hex
  deferredActionDigest: Hex
}

/** The server's REST as the page uses it. Every method throws ApiError. */
export class LoginApi {
  constructor(
    private readonly token: string | null,
    /** Told when the server says that the token isn't its own; the call throws ApiError as well. */
    private readonly onTokenRefused: () => void = () => {},
  ) {}

  /** The current login, or null. */
  account(): Promise<Account | null> {
    return this.ask('account')
  }

  status(): Promise<PageStatus> {
    return this.ask('status')
  }

  /** `whoamiStamp`: Alchemy's signed "who am I" request, or `{ email }` with the local wallet. */
  getApiKey(whoamiStamp: unknown): Promise<{ publicKey: string; orgId: string }> {
    return this.ask('get-api-key', { whoamiStamp })
  }

  setApiKeyActivated(activation: Activation): Promise<{ activated: true }> {
    return this.ask('set-api-key-activated', activation)
  }

  logOut(orgId: string): Promise<{ loggedOut: true }> {
    return this.ask('log-out', { orgId })
  }

  private async ask<T>(route: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' }
    if (this.token) headers.authorization = `Bearer ${this.token}`
    if (body !== undefined) headers['content-type'] = 'application/json'
    let answer: Response
    let text: string
    try {
      answer = await fetch(`/api/${route}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: 'no-store',
        signal: AbortSignal.timeout(60_000),
      })
      // Here as well: a server that ends, or a laptop that sleeps, can cut an answer off after its headers.
      text = await answer.text()
    } catch {
      throw new ApiError('The login server of this node does not answer. Is the node still running?', 0)
    }
    const content = parsed(text)
    if (answer.status === 401) this.onTokenRefused()
    if (!answer.ok)
      throw new ApiError(content?.error ?? `The login server answered ${answer.status}.`, answer.status)
    if (content === undefined)
      throw new ApiError(
        'What answered is not JSON. Is another program on the login server’s port?',
        answer.status,
      )
    return content as T
  }
}

/** undefined where the text isn't JSON. */
// biome-ignore lint/suspicious/noExplicitAny: what the server says has the type that the caller names
function parsed(text: string): any {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
