import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { animalName } from '@/lib/names'
import { OWNER } from '../support/anvil'
import { openBrowser } from '../support/browser'
import { PEERS, Site } from '../support/site'
import { openPage } from '../support/watched-page'

const [ours, another] = PEERS
let site: Site
let browser: Browser
let page: Page
let complaints: string[]

beforeAll(async () => {
  site = await Site.start({ LOGIN_NODE_ACCOUNT: OWNER.address })
  browser = await openBrowser()
})
afterAll(async () => {
  await browser?.close()
  await site?.stop()
})
beforeEach(async () => {
  const opened = await openPage(browser)
  page = opened.page
  complaints = opened.complaints
})
afterEach(async () => {
  await page.context().close()
  expect(complaints).toEqual([])
})

const peerNamed = (peerId: string) => page.getByRole('heading', { name: animalName(peerId) })

test('the node’s own account is shown to whoever opens the page on this machine, with no login', async () => {
  await page.goto(site.url)
  await page.getByRole('heading', { name: 'This node’s own account' }).waitFor()
  await page.getByText('Its key is in .rl-swarm/account.key').waitFor()
  await page.getByText(OWNER.address, { exact: true }).waitFor()
  await page.getByText('This account has no peers yet: your node registers itself when it starts.').waitFor()
  expect(await page.getByRole('button', { name: 'Log out' }).count()).toBe(0)
})

test('a peer appears when it has registered, without a reload', async () => {
  await page.goto(site.url)
  await page.getByText('This account has no peers yet').waitFor()
  await site.registerForNode(ours)
  await peerNamed(ours).waitFor()
  await page.getByText(ours, { exact: true }).waitFor()
})

test('nothing is asked while nobody looks, and at once when somebody does again', async () => {
  let asked = 0
  page.on('request', (request) => {
    if (request.url().endsWith('/api/status')) asked += 1
  })
  const answered = () => page.waitForResponse('**/api/status')
  await page.clock.install()
  const [first] = await Promise.all([answered(), page.goto(site.url)])
  await first.finished()
  await page.getByText('up to date').waitFor()
  const [second] = await Promise.all([answered(), page.clock.runFor(5_000)])
  // An answer still on its way would be given up by the hidden minute, which the page would rightly tell of.
  await second.finished()
  expect(asked).toBe(2)

  await setHidden(true)
  await page.clock.runFor(60_000)
  expect(asked).toBe(2)

  await Promise.all([answered(), setHidden(false)])
  expect(asked).toBe(3)
})

test('a login server that has ended is told of, and the page goes on by itself when it is back', async () => {
  await page.goto(site.url)
  await peerNamed(ours).waitFor()
  await site.server.stop()
  await page.getByText('The login server doesn’t answer.').waitFor()
  await page.getByText('start that again with ./run_rl_swarm.sh').waitFor()
  await page.getByText('last answer').waitFor()
  expect(await peerNamed(ours).isVisible()).toBe(true)

  await site.restartServer()
  await page.getByText('up to date').waitFor()
  expect(await page.getByText('The login server doesn’t answer.').count()).toBe(0)
})

test.each([
  { what: 'cut off in the middle', body: '{"address":"0x' },
  { what: 'another program’s', body: '<h1>It works!</h1>' },
])('an answer that is $what is told of, and what was known stays', async ({ body }) => {
  await page.goto(site.url)
  await peerNamed(ours).waitFor()
  await page.route('**/api/status', (route) => route.fulfill({ status: 200, body }))
  await page.getByText('What answered is not JSON.').waitFor()
  expect(await peerNamed(ours).isVisible()).toBe(true)

  await page.unroute('**/api/status')
  await page.getByText('up to date').waitFor()
})

test('an answer whose connection is lost after its headers is told of, and asked for again', async () => {
  await page.goto(site.url)
  await peerNamed(ours).waitFor()
  const breaksOff = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
    response.write('{"address":', () => response.destroy())
  })
  await once(breaksOff.listen(0, '127.0.0.1'), 'listening')
  try {
    const { port } = breaksOff.address() as AddressInfo
    await page.route('**/api/status', (route) =>
      route.continue({ url: `http://127.0.0.1:${port}/api/status` }),
    )
    await page.getByText('The login server doesn’t answer.').waitFor()
    expect(await peerNamed(ours).isVisible()).toBe(true)

    await page.unroute('**/api/status')
    await page.getByText('up to date').waitFor()
  } finally {
    breaksOff.close()
  }
})

test('a chain that is away is told of, and what was known stays', async () => {
  await site.registerForNode(another)
  await page.goto(site.url)
  await peerNamed(another).waitFor()
  await site.anvil.stop()
  await page.getByText('The chain can’t be asked.').waitFor()
  await page.getByText('does not answer. Is it running').waitFor()
  await page.getByText('chain away').waitFor()
  expect(await peerNamed(another).isVisible()).toBe(true)
})

test('with the chain away from the start, the account is shown and nothing is claimed of its peers', async () => {
  await page.goto(site.url)
  await page.getByText(OWNER.address, { exact: true }).waitFor()
  await page.getByText('The chain knows the peers of this account, and can’t be asked now.').waitFor()
  expect(await page.getByText('no peers yet').count()).toBe(0)
})

/** What a browser says when its window is covered or another tab is chosen, which one without windows never is. */
function setHidden(hidden: boolean): Promise<void> {
  return page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
  }, hidden)
}
