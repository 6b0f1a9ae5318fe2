import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Address, zeroHash } from 'viem'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { POST as getApiKey } from '@/app/api/get-api-key/route'
import { POST as logOut } from '@/app/api/log-out/route'
import { POST as registerPeer } from '@/app/api/register-peer/route'
import { GET as status } from '@/app/api/status/route'
import { POST as submitReward } from '@/app/api/submit-reward/route'
import { POST as submitWinner } from '@/app/api/submit-winner/route'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { animalName } from '@/lib/names'
import type { PageStatus } from '@/lib/page'
import { Anvil, CHAIN_ID } from '../support/anvil'
import { get, post, setEnvironment, TOKEN, temporaryFolder } from '../support/routes'

let anvil: Anvil
let swarm: Address
let data: ReturnType<typeof temporaryFolder>
let environ: Record<string, string>

beforeAll(async () => {
  anvil = await Anvil.start()
  swarm = await anvil.deploySwarm()
})

afterAll(async () => {
  await anvil.stop()
})

beforeEach(() => {
  data = temporaryFolder()
  writeFileSync(path.join(data.folder, 'token'), `${TOKEN}\n`)
  environ = {
    LOGIN_DATA_DIR: data.folder,
    SWARM_CHAIN_ID: String(CHAIN_ID),
    SWARM_RPC_URL: anvil.rpcUrl,
    SWARM_CONTRACT_ADDRESS: swarm,
  }
  setEnvironment(environ)
  return data.remove
})

let names = 0
/** A peer id that no other test has. */
const newPeer = () => `QmPeer${++names}`

async function logIn(email = 'someone@example.org'): Promise<string> {
  const { status, body } = await post(getApiKey, { whoamiStamp: { email } })
  expect(status).toBe(200)
  return body.orgId
}

function read() {
  const read = (functionName: 'getEoa' | 'getTotalRewards', args: [string[]]) =>
    anvil.client.readContract({ address: swarm, abi: SwarmCoordinatorAbi, functionName, args })
  return read
}

describe('writes', () => {
  it('registers a peer, and answers with the hash of a transaction that is in a block', async () => {
    const [orgId, peerId] = [await logIn(), newPeer()]
    const { status, body } = await post(registerPeer, { orgId, peerId })
    expect(status).toBe(200)
    const receipt = await anvil.client.getTransactionReceipt({ hash: body.hash })
    expect(receipt.status).toBe('success')
    expect(await read()('getEoa', [[peerId]])).toEqual([expect.stringMatching(new RegExp(receipt.from, 'i'))])
  })
})
