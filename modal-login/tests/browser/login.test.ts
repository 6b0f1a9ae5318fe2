import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { animalName } from '@/lib/names'
import { openBrowser } from '../support/browser'
import { TOKEN } from '../support/routes'
import { PEERS, Site } from '../support/site'
import { openPage } from '../support/watched-page'

const EMAIL = 'ann@example.org'
const [ours, another, stranger] = PEERS
let site: Site
let browser: Browser
let page: Page
let complaints: string[]

beforeAll(async () => {
  site = await Site.start()
  browser = await openBrowser()
})
afterAll(async () => {
  await browser?.close()
  await site?.stop()
})
beforeEach(async () => {
  site.writeState('userData.json', {})
  site.writeState('userApiKey.json', {})
  const opened = await openPage(browser)
  page = opened.page
  complaints = opened.complaints
})
afterEach(async () => {
  await page.context().close()
  expect(complaints).toEqual([])
})

const title = (name: string) => page.getByRole('heading', { level: 1, name })
const button = (name: string) => page.getByRole('button', { name, exact: true })

async function logInByHand(email: string): Promise<void> {
  await page.getByLabel('Email label').fill(email)
  await button('Log in').click()
  await title('Your account').waitFor()
}

async function shownAddress(): Promise<string> {
  return (await page.getByText(/^0x[0-9a-fA-F]{40}$/).textContent()) ?? ''
}

test('the token leaves the address at once, and a reload of the tab still has it', async () => {
  await page.goto(site.urlWithToken)
  await page.getByLabel('Email label').waitFor()
  expect(page.url()).toBe(`${site.url}/`)
  await page.reload()
  await page.getByLabel('Email label').waitFor()
})

test('without the token the page only shows, and says where the token is', async () => {
  await page.goto(site.url)
  await page.getByText('open the address with the token printed in the terminal').waitFor()
  expect(await page.getByLabel('Email label').count()).toBe(0)

  await site.logIn(EMAIL)
  await title('Your account').waitFor()
  expect(await page.getByText(EMAIL).count()).toBe(0)
  expect(await button('Log out').count()).toBe(0)
})

test('the printed address works in a tab that is open already', async () => {
  await page.goto(site.url)
  await page.getByText('open the address with the token').waitFor()
  await page.goto(site.urlWithToken)
  await logInByHand(EMAIL)
})

test('a wrong token is refused, said, and not kept', async () => {
  await page.goto(`${site.url}/#token=of-another-server-altogether`)
  await page.getByLabel('Email label').fill(EMAIL)
  await button('Log in').click()
  await page.getByText('the token in the address that was opened isn’t its own').waitFor()
  expect(site.state('userData.json')).toBe('{}')
  expect(await page.evaluate(() => sessionStorage.length)).toBe(0)

  await page.goto(site.urlWithToken)
  await logInByHand(EMAIL)
})

test('an email label logs in; its nodes’ peers, rewards, votes and bet tokens are shown', async () => {
  await page.goto(site.urlWithToken)
  await logInByHand(` ${EMAIL.toUpperCase()} `)
  await page.getByText(EMAIL, { exact: true }).waitFor()
  await page.getByText('doesn’t end').waitFor()
  await page.getByText('This account has no peers yet').waitFor()

  const orgId = Object.keys(JSON.parse(site.state('userData.json')))[0]
  for (const peerId of [ours, another]) await site.post('register-peer', { orgId, peerId })
  await site.post('submit-reward', { orgId, peerId: ours, roundNumber: 0, stageNumber: 0, reward: 1208 })
  await site.post('submit-reward', { orgId, peerId: another, roundNumber: 0, stageNumber: 0, reward: -3 })
  await site.post('submit-winner', { orgId, peerId: ours, roundNumber: 0, winners: [another, stranger] })

  const card = page
    .getByRole('listitem')
    .filter({ hasText: animalName(ours) })
    .first()
  await card.getByText('+1,208 in round 0').waitFor()
  await card.getByText(`${animalName(another)}, ${animalName(stranger)} in round 0`).waitFor()
  await card.getByText('100', { exact: true }).waitFor()
  await page.getByText('-3 in round 0').waitFor()
  await page.getByLabel('In all').getByText('+1,205').waitFor()
})

test('the whole peer id is copied', async () => {
  const orgId = await site.logIn(EMAIL)
  await site.post('register-peer', { orgId, peerId: ours })
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: site.url })
  await page.goto(site.url)
  await button(`Copy peer id of ${animalName(ours)}`).click()
  await page.getByText('Copied').first().waitFor()
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(ours)
})

test('Log out says what it does, can be called off, and removes the key; the same label is the same account', async () => {
  await page.goto(site.urlWithToken)
  await logInByHand(EMAIL)
  const address = await shownAddress()

  await button('Log out').click()
  await page.getByText('can’t send anything to the chain until you log in again').waitFor()
  await button('Stay logged in').click()
  expect(JSON.stringify(JSON.parse(site.state('userApiKey.json')))).toContain(address)

  await button('Log out').click()
  await page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
  await title('Log in').waitFor()
  expect(site.state('userApiKey.json').trim()).toBe('{}')
  expect(await page.getByText(address).count()).toBe(0)

  await logInByHand(EMAIL)
  expect(await shownAddress()).toBe(address)
})

test('everything can be done by keyboard, and focus goes where reading goes on', async () => {
  await page.goto(site.urlWithToken)
  await page.getByLabel('Email label').waitFor()
  const focused = () => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.id)

  await page.keyboard.press('Tab')
  await page.keyboard.type(EMAIL)
  await page.keyboard.press('Tab')
  expect(await focused()).toBe('Log in')
  expect(await hasVisibleFocus()).toBe(true)
  await page.keyboard.press('Enter')
  await title('Your account').waitFor()
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1')
  expect(await focused()).toBe('Your account')

  await page.keyboard.press('Tab')
  expect(await focused()).toBe('Copy')
  await page.keyboard.press('Tab')
  expect(await focused()).toBe('Log out')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  expect(await focused()).toBe('Stay logged in')
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'hidden' })
  expect(await focused()).toBe('Log out')

  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await title('Log in').waitFor()
  await page.waitForFunction(() => document.activeElement?.textContent === 'Log in')
})

test('a session key that has ended asks to log in again, and shows the account meanwhile', async () => {
  const orgId = await site.logIn(EMAIL)
  await site.post('register-peer', { orgId, peerId: ours })
  editKey(orgId, { expiresAt: Math.floor(Date.now() / 1000) - 60 })
  await page.goto(site.urlWithToken)
  await title('Log in again').waitFor()
  await page.getByText('The session key of this account ended on').waitFor()
  await page.getByRole('heading', { name: animalName(ours) }).waitFor()
  await logInByHand(EMAIL)
})

test('a session key that ends says when', async () => {
  const orgId = await site.logIn(EMAIL)
  editKey(orgId, { expiresAt: Math.floor(Date.now() / 1000) + 29.5 * 86_400 })
  await page.goto(site.url)
  await page.getByText('ends in 29 days').waitFor()
})

test('a login whose key waits for its permission says that one step is left', async () => {
  const orgId = await site.logIn(EMAIL)
  editKey(orgId, { activated: false })
  await page.goto(site.urlWithToken)
  await title('One step is left').waitFor()
  await page.getByText('your node waits for the permission to act for your account').waitFor()
  await logInByHand(EMAIL)
})

test('a server that asks nobody for the token lets the page log in without it', async () => {
  const open = await Site.start({ LOGIN_ALLOW_UNAUTHENTICATED: '1' })
  try {
    await page.goto(open.url)
    await logInByHand(EMAIL)
    expect(open.state('userData.json')).toContain(EMAIL)
    expect(open.state('token')).toBe(TOKEN)
  } finally {
    await open.stop()
  }
})

/** As time or another version of the server leaves the key: the file is the interface. */
function editKey(orgId: string, change: { expiresAt?: number; activated?: boolean }): void {
  const keys = JSON.parse(site.state('userApiKey.json'))
  keys[orgId] = keys[orgId].map((key: object) => ({ ...key, ...change }))
  site.writeState('userApiKey.json', keys)
}

function hasVisibleFocus(): Promise<boolean> {
  return page.evaluate(() => {
    const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement ?? document.body)
    return outlineStyle === 'solid' && Number.parseFloat(outlineWidth) >= 2
  })
}
