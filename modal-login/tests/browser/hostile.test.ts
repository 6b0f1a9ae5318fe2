import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { openBrowser } from '../support/browser'
import { TOKEN } from '../support/routes'
import { Site } from '../support/site'

/**
 * The login server here asks for no token: what keeps other sites out is to hold without it. `evil.test` leads to this
 * machine, as a name does whose owner has turned it there.
 */
let site: Site
let elsewhere: Server
let browser: Browser
let page: Page
let orgId: string
let before: string[]

beforeAll(async () => {
  site = await Site.start({ LOGIN_ALLOW_UNAUTHENTICATED: '1' })
  elsewhere = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title>')
  })
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
  browser = await openBrowser(['--host-resolver-rules=MAP evil.test 127.0.0.1'])
  orgId = await site.logIn('ann@example.org')
})
afterAll(async () => {
  await browser?.close()
  elsewhere?.close()
  await site?.stop()
})
beforeEach(async () => {
  page = await (await browser.newContext()).newPage()
  before = state()
})
afterEach(async () => {
  await page.context().close()
})

const state = () => ['userData.json', 'userApiKey.json'].map((name) => site.state(name))

const ORIGINS = [
  ['another site', () => `http://evil.test:${port()}`],
  ['another port of this machine', () => `http://localhost:${port()}`],
] as const

test.each(ORIGINS)('a form that %s posts is refused and changes nothing', async (_, origin) => {
  await page.goto(origin())
  const [answer] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate(
      ([action, body]) => {
        // The one way to write JSON with a form: as text, with the "=" inside a string.
        const form = Object.assign(document.createElement('form'), { action, method: 'post' })
        form.enctype = 'text/plain'
        const [name = '', value = ''] = body.split('=')
        form.append(Object.assign(document.createElement('input'), { name, value }))
        document.body.append(form)
        form.submit()
      },
      [`${site.url}/api/log-out`, `{"orgId":"${orgId}","x":"="}`] as [string, string],
    ),
  ])
  expect(answer?.status()).toBe(403)
  expect(await page.textContent('body')).toContain('Pages of other sites may not use this login server.')
  expect(state()).toEqual(before)
})

test.each(ORIGINS)('what a script of %s posts arrives, and is refused', async (_, origin) => {
  await page.goto(origin())
  const { answered } = await watchNextPost()
  const outcome = await page.evaluate(
    // As text, which browsers send to other sites without asking these first.
    ([url, body]) => fetch(url, { method: 'POST', mode: 'no-cors', body }).catch(() => 'hidden'),
    [`${site.url}/api/log-out`, JSON.stringify({ orgId })] as const,
  )
  expect(outcome).toBe('hidden')
  expect(await answered).toBe(403)
  expect(state()).toEqual(before)
})

test.each(ORIGINS)('scripts of %s can neither send JSON nor read anything', async (_, origin) => {
  await page.goto(origin())
  const outcomes = await page.evaluate(
    async ([url, body]) => {
      const headers = { 'content-type': 'application/json' }
      const tries = [
        fetch(`${url}/api/log-out`, { method: 'POST', headers, body }),
        fetch(`${url}/api/account`).then((answer) => answer.text()),
        fetch(`${url}/api/account`, { mode: 'no-cors' }),
      ]
      return (await Promise.allSettled(tries)).map(({ status }) => status)
    },
    [site.url, JSON.stringify({ orgId })] as const,
  )
  expect(outcomes).toEqual(['rejected', 'rejected', 'rejected'])
  expect(state()).toEqual(before)
})

test('under another name that leads here there is neither page nor API', async () => {
  const rebound = `http://evil.test:${site.server.port}`
  const answer = await page.goto(`${rebound}/#token=${TOKEN}`)
  expect(answer?.status()).toBe(403)
  expect(await page.textContent('body')).toContain('does not answer to the name it was called by')
  const tried = await page.evaluate(
    async ([org, token]) => {
      const sent = await fetch('/api/log-out', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ orgId: org }),
      })
      return [sent.status, (await fetch('/api/account')).status]
    },
    [orgId, TOKEN] as const,
  )
  expect(tried).toEqual([403, 403])
  expect(state()).toEqual(before)
})

test('no other page can show this one in a frame', async () => {
  await page.goto(`http://localhost:${port()}`)
  const refused = page.waitForEvent('console', (message) => message.text().includes('frame'))
  await page.evaluate((url) => {
    document.body.append(Object.assign(document.createElement('iframe'), { src: url }))
  }, site.url)
  expect((await refused).text()).toContain(site.url)
  expect(await page.frames()[1]?.getByText('RL Swarm').count()).toBe(0)
})

/** What the server answers, which Chromium keeps from scripts, and from all but its debugger. */
async function watchNextPost(): Promise<{ answered: Promise<number> }> {
  const session = await page.context().newCDPSession(page)
  await session.send('Network.enable')
  const answered = new Promise<number>((resolve) => {
    session.on('Network.requestWillBeSent', ({ requestId, request }) => {
      if (request.method !== 'POST') return
      session.on('Network.responseReceivedExtraInfo', (answer) => {
        if (answer.requestId === requestId) resolve(answer.statusCode)
      })
    })
  })
  return { answered }
}

function port(): number {
  return (elsewhere.address() as AddressInfo).port
}
