import type { Settings } from './settings'

/** Where Alchemy's signer keeps the user's key: a frame of another origin, which the page itself can't read. */
const SIGNER_FRAME = 'https://auth.turnkey.com'
/** The signer, and the bundler that account-kit uses for the public network by itself. */
const ALCHEMY_APIS = ['https://api.g.alchemy.com', 'https://gensyn-testnet.g.alchemy.com']

/** Only what this server itself delivers runs, and only with this nonce; a wallet service's addresses are added. */
export function contentSecurityPolicy(settings: Settings, nonce: string): string {
  const usesAlchemy = settings.wallet === 'alchemy'
  // React's development build evaluates code to show where an error came from.
  const development = process.env.NODE_ENV === 'development' ? ["'unsafe-eval'"] : []
  const directives: Record<string, string[]> = {
    'default-src': ["'none'"],
    'script-src': ["'self'", `'nonce-${nonce}'`, "'strict-dynamic'", ...development],
    'style-src': ["'self'", `'nonce-${nonce}'`],
    'img-src': ["'self'", 'data:'],
    'font-src': ["'self'"],
    'manifest-src': ["'self'"],
    'connect-src': ["'self'", ...(usesAlchemy ? alchemyOrigins(settings) : [])],
    'frame-src': usesAlchemy ? [SIGNER_FRAME] : ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'self'"],
    'frame-ancestors': ["'none'"],
  }
  return Object.entries(directives)
    .map(([name, sources]) => `${name} ${sources.join(' ')}`)
    .join('; ')
}

export function securityHeaders(settings: Settings, policy: string): Record<string, string> {
  return {
    'content-security-policy': policy,
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    // Logging in with Google opens a window that has to find its way back to the page.
    'cross-origin-opener-policy': settings.wallet === 'alchemy' ? 'same-origin-allow-popups' : 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  }
}

function alchemyOrigins({ alchemy, rpcUrl }: Settings): string[] {
  const urls = [...ALCHEMY_APIS, alchemy.signerUrl, rpcUrl, ...(alchemy.rpcUrl ? [alchemy.rpcUrl] : [])]
  return [...new Set(urls.map((url) => new URL(url).origin))]
}
