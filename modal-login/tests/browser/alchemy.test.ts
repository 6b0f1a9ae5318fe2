import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import {
  getDefaultAllowlistModuleAddress,
  getDefaultSingleSignerValidationModuleAddress,
  getDefaultTimeRangeModuleAddress,
} from '@account-kit/smart-contracts/experimental'
import { type Browser, chromium, type Page } from 'playwright-core'
import { type Chain, type Hex, slice } from 'viem'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { permissionDeadline } from '@/lib/wallet/permission-deadline'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { Gateway } from '../support/gateway'
import { deployEntryPoint } from '../support/gateway-account'
import { Signer } from '../support/gateway-signer'
import { TOKEN, temporaryFolder } from '../support/routes'

const ROOT = path.resolve(import.meta.dirname, '..', '..')
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const SWARM = '0x1111111111111111111111111111111111111111'

const data = temporaryFolder()
let anvil: Anvil
let gateway: Gateway
let signer: Signer
let server: ChildProcess
let port: number
let browser: Browser
let page: Page
const refusedByPolicy: string[] = []

beforeAll(async () => {
  anvil = await Anvil.start()
  await deployEntryPoint(anvil)
  // Nothing runs them here; they have to be there for a permission to be given.
  for (const of of [
    getDefaultSingleSignerValidationModuleAddress,
    getDefaultTimeRangeModuleAddress,
    getDefaultAllowlistModuleAddress,
  ]) {
    await anvil.client.setCode({ address: of({ id: CHAIN_ID } as Chain), bytecode: '0x00' })
  }
  gateway = await Gateway.start(anvil)
  signer = await Signer.start()
  writeFileSync(path.join(data.folder, 'token'), TOKEN, { mode: 0o600 })
  port = await freePort()
  server = await startServer()
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
    ],
  })
  page = await browser.newPage()
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) refusedByPolicy.push(message.text())
  })
  await virtualAuthenticator(page)
})
afterAll(async () => {
  await browser?.close()
  server?.kill()
  signer?.stop()
  await gateway?.stop()
  await anvil?.stop()
  data.remove()
})

test('a new passkey logs in, and this node’s key gets a permission for 30 days', async () => {
  await page.goto(`http://localhost:${port}/#token=${TOKEN}`)
  await page.getByRole('button', { name: 'New account with a passkey' }).press('Enter')
  await page.getByRole('heading', { name: 'Your account' }).waitFor()

  expect(signer.asked).toEqual(['/signer/v1/signup', '/signer/v1/whoami', '/signer/v1/sign-payload'])
  const keys = JSON.parse(readFileSync(path.join(data.folder, 'userApiKey.json'), 'utf8'))
  const [key] = keys[signer.user.orgId] as [{ activated: boolean; deferredActionDigest: Hex; initCode: Hex }]
  expect(key.activated).toBe(true)
  expect(permissionDeadline(key.deferredActionDigest)).toBeCloseTo(Date.now() / 1000 + 30 * 86_400, -3)
  // What makes the account names its owner: the user's key at the signer, not this server's.
  expect(key.initCode).toContain(signer.user.address.slice(2).toLowerCase())
  expect(slice(key.initCode, 0, 20)).toMatch(/^0x0+17c61/)
  expect(refusedByPolicy).toEqual([])
})

test('what goes wrong is said in words, and can be tried again', async () => {
  await page.evaluate(async (token) => {
    const account = await (await fetch('/api/account')).json()
    await fetch('/api/log-out', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ orgId: account.orgId }),
    })
  }, TOKEN)
  await page.reload()
  signer.stop()
  await page.getByRole('button', { name: 'Use my passkey' }).click()
  await page.getByText('Alchemy does not answer. Are you online? Try again.').waitFor()
  await page.getByRole('button', { name: 'Use my passkey' }).waitFor()
})

async function virtualAuthenticator(of: Page): Promise<void> {
  const session = await of.context().newCDPSession(of)
  await session.send('WebAuthn.enable')
  await session.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      ...{ protocol: 'ctap2', transport: 'internal', hasResidentKey: true },
      ...{ hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    },
  })
}

async function startServer(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['scripts/start.mjs'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...{ PATH: process.env.PATH, NODE_ENV: 'production', LOGIN_PORT: String(port) },
      ...{ LOGIN_WALLET: 'alchemy', LOGIN_DATA_DIR: data.folder },
      ...{ SWARM_CHAIN_ID: String(CHAIN_ID), SWARM_RPC_URL: anvil.rpcUrl, SWARM_CONTRACT_ADDRESS: SWARM },
      ...{ ALCHEMY_RPC_URL: gateway.url, ALCHEMY_SIGNER_URL: signer.url },
      ...{ NEXT_PUBLIC_ALCHEMY_API_KEY: 'the-key', NEXT_PUBLIC_PAYMASTER_POLICY_ID: 'the-policy' },
    },
  })
  if (!child.stdout) throw new Error('The server was started without a pipe.')
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.includes('Ready')) {
      child.stdout.resume()
      return child
    }
  }
  throw new Error('The server ended before it was ready. Is it built (npm run build)?')
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port: free } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  return free
}
