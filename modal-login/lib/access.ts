import type { Settings } from './settings'
import { readToken, sameSecret } from './token'

/** This caller may not do this; the message is a sentence for whoever reads the answer. */
export class AccessDenied extends Error {
  constructor(
    readonly status: 401 | 403,
    message: string,
  ) {
    super(message)
  }
}

const OWN_NAMES = ['localhost', '127.0.0.1', '[::1]']
const HOST = /^(\[[0-9a-f:.]+\]|[^:/@\s]+)(?::\d{1,5})?$/

/**
 * Throws unless the request was made to a name of this server. A page elsewhere can make its own name lead to this
 * machine (DNS rebinding); what it can't do is to make the browser say another name than that in `Host`.
 */
export function requireKnownHost(host: string | null, allowedHosts: readonly string[]): void {
  const name = HOST.exec(host?.toLowerCase() ?? '')?.[1]
  if (name !== undefined && [...OWN_NAMES, ...allowedHosts].includes(name)) return
  throw new AccessDenied(
    403,
    'This login server does not answer to the name it was called by. Call it as localhost, or start it with that ' +
      'name in LOGIN_ALLOWED_HOSTS.',
  )
}

/** Throws when a browser sends this for a page of another origin. Programs that aren't browsers send neither header. */
export function requireSameOrigin(headers: Headers): void {
  const site = headers.get('sec-fetch-site')
  const siteIsOurs = site === null || site === 'same-origin' || site === 'none'
  const origin = headers.get('origin')
  if (siteIsOurs && (origin === null || isOriginOf(origin, headers.get('host')))) return
  throw new AccessDenied(403, 'Pages of other sites may not use this login server.')
}

/** Whether the caller shows the token; everybody does on a server that was told to ask nobody for it. */
export async function hasToken(headers: Headers, settings: Settings): Promise<boolean> {
  if (settings.allowUnauthenticated) return true
  // Read in any case: the first request, a launcher's question whether we are up, makes the file.
  const token = await readToken(settings.dataDir)
  const shown = /^bearer +(\S+)$/i.exec(headers.get('authorization') ?? '')?.[1]
  return shown !== undefined && sameSecret(shown, token)
}

/** Throws unless the caller shows the token. */
export async function requireToken(headers: Headers, settings: Settings): Promise<void> {
  if (await hasToken(headers, settings)) return
  const fault = headers.has('authorization') ? 'The token is not the right one' : 'This needs the token'
  throw new AccessDenied(
    401,
    `${fault}: send "Authorization: Bearer TOKEN" with what the file "token" in the login server's data folder says; ` +
      'a browser gets it from the address that the command login prints.',
  )
}

function isOriginOf(origin: string, host: string | null): boolean {
  try {
    const { host: from, protocol } = new URL(origin)
    return from === host?.toLowerCase() && (protocol === 'http:' || protocol === 'https:')
  } catch {
    // Such as "null", the origin of sandboxed frames.
    return false
  }
}
