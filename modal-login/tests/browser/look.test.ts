import { mkdirSync } from 'node:fs'
import path from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { animalName } from '@/lib/names'
import { OWNER } from '../support/anvil'
import { openBrowser } from '../support/browser'
import { faintTexts } from '../support/contrast'
import { PEERS, Site } from '../support/site'
import { openPage, scrollsSideways } from '../support/watched-page'

const LONG_EMAIL = `${'somebody.with.a.very.long.name.'.repeat(4)}@example.org`
const PHONE = { viewport: { width: 360, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }
const DESKTOP = { viewport: { width: 880, height: 880 }, deviceScaleFactor: 2 }
const SCHEMES = ['light', 'dark'] as const
const [ours, another, stranger] = PEERS

let site: Site
let browser: Browser
let orgId: string
const opened: { page: Page; complaints: string[] }[] = []

beforeAll(async () => {
  site = await Site.start()
  browser = await openBrowser()
  orgId = await site.logIn('ann@example.org')
  for (const peerId of [ours, another]) await site.post('register-peer', { orgId, peerId })
  for (let round = 0; round < 12; round++) {
    await report(ours, round, 5 + ((round * 7) % 9), [another])
    await report(another, round, 3 + ((round * 5) % 8), [ours, stranger])
    await site.anvil.advanceRound(site.swarm)
  }
})
afterAll(async () => {
  await browser?.close()
  await site?.stop()
})
afterEach(async () => {
  const complaints = opened.flatMap((one) => one.complaints)
  for (const { page } of opened.splice(0)) await page.context().close()
  expect(complaints).toEqual([])
})

test.each(SCHEMES)('in the %s scheme every text stands out from what is behind it', async (colorScheme) => {
  const page = await open({ ...DESKTOP, colorScheme })
  await page.goto(site.urlWithToken)
  await page.getByRole('heading', { name: animalName(ours) }).waitFor()
  expect(await faintTexts(page)).toEqual([])
  await keepPicture(page, colorScheme === 'light' ? 'login-page' : 'login-page-dark', true)

  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByText('Your peers, rewards and votes stay yours.').waitFor()
  expect(await faintTexts(page)).toEqual([])
  await page.goto('about:blank')
  await page.goto(`${site.url}/#token=a-wrong-one-for-the-alert`)
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
  await page.getByText('The server refused').waitFor()
  expect(await faintTexts(page)).toEqual([])
})

test('the measures of these tests find a faint text and a wide one', async () => {
  const page = await open({ ...PHONE, colorScheme: 'light' })
  await page.goto(site.url)
  const heading = page.getByRole('heading', { name: 'Your account' })
  await heading.evaluate((element) => element.style.setProperty('color', '#8a8a8a'))
  expect(await faintTexts(page)).toEqual(['3.45: Your account'])
  await heading.evaluate((element) => element.style.setProperty('width', '400px'))
  expect(await scrollsSideways(page)).toBe(true)
})

test('the schemes are two', async () => {
  const grounds = await Promise.all(
    SCHEMES.map(async (colorScheme) => {
      const page = await open({ colorScheme })
      await page.goto(site.url)
      return await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    }),
  )
  expect(grounds).toEqual(['rgb(246, 247, 246)', 'rgb(17, 20, 22)'])
})

test('on a phone nothing is wider than the screen, whatever is shown', async () => {
  const page = await open({ ...PHONE, colorScheme: 'light' })
  await page.goto(site.urlWithToken)
  await page.getByRole('heading', { name: animalName(another) }).waitFor()
  expect(await scrollsSideways(page)).toBe(false)
  await keepPicture(page, 'login-page-phone')
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('dialog').waitFor()
  expect(await scrollsSideways(page)).toBe(false)
  await page.getByRole('button', { name: 'Stay logged in' }).click()

  const other = await site.logIn(LONG_EMAIL)
  await page.getByText(LONG_EMAIL, { exact: true }).waitFor()
  expect(await scrollsSideways(page)).toBe(false)
  await site.post('log-out', { orgId: other })
})

test('who wants less motion gets none that could be seen', async () => {
  const page = await open({ reducedMotion: 'reduce' })
  await page.goto(site.urlWithToken)
  const button = page.getByRole('button', { name: 'Log out' })
  await button.waitFor()
  expect(await button.evaluate((element) => getComputedStyle(element).transitionDuration)).toBe('0.001s')
})

test('the page of a local network loads nothing of account-kit, that of the public network does', async () => {
  const publicSite = await Site.start({
    LOGIN_WALLET: 'alchemy',
    LOGIN_NODE_ACCOUNT: '',
    NEXT_PUBLIC_ALCHEMY_API_KEY: 'no-real-key',
  })
  try {
    const local = await scriptsOf(`${site.url}/`, (page) =>
      page.getByRole('heading', { name: 'Your account' }).waitFor(),
    )
    const withAlchemy = await scriptsOf(publicSite.urlWithToken, async (page) => {
      await page.getByRole('button', { name: 'Continue with Google' }).waitFor()
      expect(await scrollsSideways(page)).toBe(false)
      expect(await faintTexts(page)).toEqual([])
      await keepPicture(page, 'login-page-alchemy')
    })
    expect(local).not.toMatch(/turnkey|AlchemySigner/)
    expect(withAlchemy).toMatch(/turnkey/)
    expect(local.length).toBeLessThan(withAlchemy.length)
  } finally {
    await publicSite.stop()
  }
})

test('the node’s own account offers the email label aside', async () => {
  const own = await Site.start({ LOGIN_NODE_ACCOUNT: OWNER.address })
  try {
    await own.registerForNode(ours)
    const page = await open({ ...PHONE, colorScheme: 'dark' })
    await page.goto(own.urlWithToken)
    await page.getByRole('heading', { name: animalName(ours) }).waitFor()
    expect(await page.getByLabel('Email label').isVisible()).toBe(false)
    await page.getByText('Log in with an email label').click()
    expect(await page.getByLabel('Email label').isVisible()).toBe(true)
    expect(await scrollsSideways(page)).toBe(false)
    expect(await faintTexts(page)).toEqual([])
    await keepPicture(page, 'login-page-node')
  } finally {
    await own.stop()
  }
})

async function report(peerId: string, roundNumber: number, reward: number, winners: string[]): Promise<void> {
  await site.post('submit-reward', { orgId, peerId, roundNumber, stageNumber: 0, reward })
  await site.post('submit-winner', { orgId, peerId, roundNumber, winners })
}

async function open(options: Parameters<Browser['newContext']>[0]): Promise<Page> {
  const one = await openPage(browser, options)
  opened.push(one)
  return one.page
}

/** The text of all scripts that the page loads until `isThere`. */
async function scriptsOf(url: string, isThere: (page: Page) => Promise<unknown>): Promise<string> {
  const page = await open(PHONE)
  const scripts: Promise<string>[] = []
  page.on('response', (response) => {
    if (response.request().resourceType() === 'script') scripts.push(response.text())
  })
  await page.goto(url)
  await isThere(page)
  return (await Promise.all(scripts)).join('\n')
}

/** README's pictures are made by this test: `PICTURES=../docs npx vitest run --project browser look`. */
async function keepPicture(page: Page, name: string, fullPage = false): Promise<void> {
  const folder = process.env.PICTURES
  if (!folder) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage })
}
