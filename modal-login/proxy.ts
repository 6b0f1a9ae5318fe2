import { type NextRequest, NextResponse } from 'next/server'
import { AccessDenied, requireKnownHost } from './lib/access'
import { contentSecurityPolicy, securityHeaders } from './lib/security-headers'
import { readSettings } from './lib/settings'

/**
 * Runs before every request, files of the page included: nobody who calls this server by a name that isn't its own gets
 * anything, and everything that it answers carries the headers that keep a browser from misusing it.
 */
export function proxy(request: NextRequest): NextResponse {
  const settings = readSettings()
  const nonce = crypto.randomUUID().replaceAll('-', '')
  const policy = contentSecurityPolicy(settings, nonce)
  const response = refusal(request, settings.allowedHosts) ?? pass(request, nonce, policy)
  for (const [name, value] of Object.entries(securityHeaders(settings, policy)))
    response.headers.set(name, value)
  return response
}

function refusal(request: NextRequest, allowedHosts: readonly string[]): NextResponse | undefined {
  try {
    requireKnownHost(request.headers.get('host'), allowedHosts)
    return undefined
  } catch (error) {
    if (error instanceof AccessDenied)
      return NextResponse.json({ error: error.message }, { status: error.status })
    throw error
  }
}

/** Next takes the nonce for its own scripts out of the policy that it finds on the request. */
function pass(request: NextRequest, nonce: string, policy: string): NextResponse {
  const headers = new Headers(request.headers)
  headers.set('x-nonce', nonce)
  headers.set('content-security-policy', policy)
  return NextResponse.next({ request: { headers } })
}
