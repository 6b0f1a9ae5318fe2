import {
  BaseError,
  ContractFunctionRevertedError,
  encodeAbiParameters,
  encodeErrorResult,
  type Hex,
  parseAbi,
  RawContractError,
  toFunctionSelector,
} from 'viem'
import { describe, expect, it } from 'vitest'
import { PredictionMarketAbi } from '@/lib/abi/PredictionMarket'
import { SwarmCoordinatorAbi } from '@/lib/abi/SwarmCoordinator'
import { contractErrorName } from '@/lib/contract-errors'

// facts of the deployed contract
const SELECTORS: [string, Hex][] = [
  ['PeerIdAlreadyRegistered', '0x723dc675'],
  ['InvalidVoterPeerId', '0x1614b50c'],
  ['RewardAlreadySubmitted', '0xe39ce02e'],
  ['WinnerAlreadyVoted', '0x3d51d827'],
  // of our market
  ['AlreadyGuessed', toFunctionSelector('AlreadyGuessed()')],
  ['NothingToClaim', toFunctionSelector('NothingToClaim()')],
]
const TAKEN = '0x723dc675'

describe.each(SELECTORS)('%s', (name, data) => {
  it.each<[string, unknown]>([
    ['as the data of an error', new RawContractError({ data })],
    [
      'as the data of a cause deep down',
      new BaseError('a', { cause: new BaseError('b', { cause: Object.assign(new Error('c'), { data }) }) }),
    ],
    ['as an object within data', { data: { data } }],
    [
      'as an error that viem has decoded',
      new ContractFunctionRevertedError({
        abi: [...SwarmCoordinatorAbi, ...PredictionMarketAbi],
        data,
        functionName: 'registerPeer',
      }),
    ],
    ['only in a message', new Error(`execution reverted: custom error ${data}`)],
    ['in the details of a JSON-RPC error', new BaseError('failed', { details: `reverted with ${data}: ` })],
    ['in capitals', { data: `0x${data.slice(2).toUpperCase()}` }],
  ])('is known %s', (_, error) => {
    expect(contractErrorName(error)).toBe(name)
  })
})

it('is known inside the error of an entry point', () => {
  const abi = parseAbi(['error FailedOpWithRevert(uint256 opIndex, string reason, bytes inner)'])
  const data = encodeErrorResult({ abi, args: [4n, 'AA23 reverted', TAKEN] })
  expect(contractErrorName({ error: { data: { revertData: data } } })).toBe('PeerIdAlreadyRegistered')
})

it('is known with arguments, too', () => {
  const data = encodeErrorResult({
    abi: PredictionMarketAbi,
    errorName: 'OwnableUnauthorizedAccount',
    args: [`0x${'12'.repeat(20)}`],
  })
  expect(contractErrorName({ cause: { data } })).toBe('OwnableUnauthorizedAccount')
})

it('is known as bytes twice inside others', () => {
  const inner = `0xdeadbeef${encodeAbiParameters([{ type: 'bytes' }], [TAKEN]).slice(2)}` as Hex
  const outer =
    `0xcafebabe${encodeAbiParameters([{ type: 'uint256' }, { type: 'bytes' }], [4n, inner]).slice(2)}` as Hex
  expect(contractErrorName({ data: outer })).toBe('PeerIdAlreadyRegistered')
})

it('names a plain revert by its reason', () => {
  const data = encodeErrorResult({ abi: parseAbi(['error Error(string)']), args: ['Not enough tokens'] })
  expect(contractErrorName({ cause: { data } })).toBe('Not enough tokens')
})

it.each<[string, unknown]>([
  ['an error without data', new Error('the chain is away')],
  ['an unknown selector', { data: '0x12345678' }],
  ['an address that begins like one', new Error(`0x723dc675${'0'.repeat(32)} has no money`)],
  ['nothing', undefined],
  ['text', 'PeerIdAlreadyRegistered'],
])('finds no name in %s', (_, error) => {
  expect(contractErrorName(error)).toBeUndefined()
})

it('comes to an end with causes that go in a circle', () => {
  const error = new Error('round and round')
  error.cause = error
  expect(contractErrorName(error)).toBeUndefined()
})
