import { describe, expect, it } from 'vitest'
import { AccessDenied, requireKnownHost, requireSameOrigin } from '@/lib/access'

describe('the Host header', () => {
  it.each(['localhost', 'localhost:3000', 'LOCALHOST:65535', '127.0.0.1:3001', '[::1]', '[::1]:3000'])(
    'may be %s, whatever port a tunnel gives it',
    (host) => {
      expect(() => requireKnownHost(host, [])).not.toThrow()
    },
  )

  it.each([
    null,
    '',
    'evil.test',
    'evil.test:3000',
    'localhost.evil.test',
    'evil.test@localhost',
    'localhost:3000@evil.test',
    'localhost:evil',
    'localhost, evil.test',
    '127.0.0.2',
    '0.0.0.0:3000',
    '[::]:3000',
    '::1',
  ])('is refused as %j', (host) => {
    expect(() => requireKnownHost(host, [])).toThrow(AccessDenied)
  })

  it('may be a name that LOGIN_ALLOWED_HOSTS lists, and none beside it', () => {
    const allowed = ['node.tail1234.ts.net']
    expect(() => requireKnownHost('Node.tail1234.ts.net', allowed)).not.toThrow()
    expect(() => requireKnownHost('other.tail1234.ts.net', allowed)).toThrow(AccessDenied)
  })
})

describe('a request that a browser sends', () => {
  const browser = (headers: Record<string, string>) => () =>
    requireSameOrigin(new Headers({ host: 'localhost:3000', ...headers }))

  it.each([
    [{}],
    [{ origin: 'http://localhost:3000' }],
    [{ origin: 'https://localhost:3000' }],
    [{ origin: 'http://localhost:3000', 'sec-fetch-site': 'same-origin' }],
    [{ 'sec-fetch-site': 'none' }],
  ])('passes with %j', (headers) => {
    expect(browser(headers)).not.toThrow()
  })

  it.each([
    [{ origin: 'http://evil.test' }],
    [{ origin: 'http://localhost:8000' }],
    [{ origin: 'http://127.0.0.1:3000' }],
    [{ origin: 'null' }],
    [{ origin: '' }],
    [{ origin: 'file://localhost:3000' }],
    [{ origin: 'http://localhost:3000.evil.test' }],
    [{ 'sec-fetch-site': 'cross-site' }],
    [{ 'sec-fetch-site': 'same-site' }],
    [{ origin: 'http://localhost:3000', 'sec-fetch-site': 'cross-site' }],
  ])('is refused with %j', (headers) => {
    expect(browser(headers)).toThrow(AccessDenied)
  })
})
