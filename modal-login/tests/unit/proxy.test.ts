import { NextRequest } from 'next/server'
import { describe, expect, it } from 'vitest'
import { proxy } from '@/proxy'
import { setEnvironment } from '../support/routes'

function ask(host: string | null, environ: Record<string, string> = {}, url = 'http://localhost:3000/') {
  setEnvironment(environ)
  return proxy(new NextRequest(url, { headers: host === null ? {} : { host } }))
}

const policyOf = (response: Response) => response.headers.get('content-security-policy') ?? ''
const directive = (response: Response, name: string) =>
  policyOf(response)
    .split('; ')
    .find((part) => part.startsWith(`${name} `))

it.each(['/', '/api/health', '/_next/static/chunks/a.js', '/icon.svg', '/anything'])(
  'gives nobody %s who calls this server by a name that is not its own',
  async (place) => {
    const response = ask('evil.test', {}, `http://localhost:3000${place}`)
    expect(response.status).toBe(403)
    expect(await response.json()).toEqual({ error: expect.stringContaining('LOGIN_ALLOWED_HOSTS') })
  },
)

it('refuses a request without a host', () => {
  expect(ask(null).status).toBe(403)
})

it('lets through what is meant for it', () => {
  expect(ask('localhost:3000').headers.get('x-middleware-next')).toBe('1')
  expect(ask('node.ts.net', { LOGIN_ALLOWED_HOSTS: 'node.ts.net' }).headers.get('x-middleware-next')).toBe(
    '1',
  )
})

it.each(['localhost', 'evil.test'])('sets the security headers of every answer (%s)', (host) => {
  expect(Object.fromEntries(ask(host).headers)).toMatchObject({
    'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
  })
})

describe('the content security policy', () => {
  it('has a new nonce each time, which the page is given', () => {
    const [one, other] = [ask('localhost'), ask('localhost')]
    const nonce = /'nonce-([^']+)'/.exec(policyOf(one))?.[1]
    expect(nonce).toMatch(/^[0-9a-f]{32}$/)
    expect(one.headers.get('x-middleware-request-x-nonce')).toBe(nonce)
    expect(one.headers.get('x-middleware-request-content-security-policy')).toBe(policyOf(one))
    expect(policyOf(other)).not.toContain(nonce)
  })

  it('lets the page talk to nobody but this server in local mode', () => {
    const response = ask('localhost')
    expect(directive(response, 'connect-src')).toBe("connect-src 'self'")
    expect(directive(response, 'frame-src')).toBe("frame-src 'none'")
    expect(policyOf(response)).not.toMatch(/https?:|unsafe|\*/)
  })

  it("adds what Alchemy's signer needs in alchemy mode only", () => {
    const environ = {
      LOGIN_WALLET: 'alchemy',
      SWARM_RPC_URL: 'https://chain.example/v2/secret',
      ALCHEMY_RPC_URL: 'http://127.0.0.1:9/x',
    }
    const response = ask('localhost', environ)
    expect(directive(response, 'connect-src')).toBe(
      "connect-src 'self' https://api.g.alchemy.com https://gensyn-testnet.g.alchemy.com https://chain.example http://127.0.0.1:9",
    )
    expect(directive(response, 'frame-src')).toContain('https://auth.turnkey.com')
    expect(response.headers.get('cross-origin-opener-policy')).toBe('same-origin-allow-popups')
  })
})
