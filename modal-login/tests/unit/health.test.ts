import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { GET } from '@/app/api/health/route'
import { get, setEnvironment, temporaryFolder } from '../support/routes'

const CONTRACT = '0xFaD7C5e93f28257429569B854151A1B8DCD404c2'
const MARKET = '0x51D4db531ae706a6eC732458825465058FA23a35'

let folder: string

beforeEach(() => {
  const data = temporaryFolder()
  folder = data.folder
  return data.remove
})

it('tells a launcher whether this server is its own', async () => {
  setEnvironment({
    LOGIN_DATA_DIR: `${folder}/`,
    SWARM_CHAIN_ID: '7',
    SWARM_CONTRACT_ADDRESS: CONTRACT,
    PRG_CONTRACT_ADDRESS: MARKET,
  })
  const { status, body } = await get(GET)
  expect(status).toBe(200)
  expect(body).toEqual({
    service: 'rl-swarm-login',
    version: expect.any(String),
    wallet: 'local',
    chainId: 7,
    contract: CONTRACT,
    market: MARKET,
    dataDir: createHash('sha256').update(folder).digest('hex'),
  })
})

it('has the token made by the time it answers, for a launcher that has made none', async () => {
  setEnvironment({ LOGIN_DATA_DIR: folder })
  await get(GET)
  expect(readFileSync(path.join(folder, 'token'), 'utf8').trim().length).toBeGreaterThan(40)
})

it('has the version of the project', async () => {
  setEnvironment({ LOGIN_DATA_DIR: folder })
  const project = readFileSync(path.resolve(import.meta.dirname, '../../../pyproject.toml'), 'utf8')
  const { body } = await get(GET)
  expect(project).toContain(`\nversion = "${body.version}"\n`)
})

it('says what is wrong with an environment that it cannot use', async () => {
  setEnvironment({ SWARM_CONTRACT_ADDRESS: 'nonsense' })
  const { status, body } = await get(GET)
  expect(status).toBe(500)
  expect(body.error).toContain('SWARM_CONTRACT_ADDRESS')
})
