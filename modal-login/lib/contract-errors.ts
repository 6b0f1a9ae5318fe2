import { BaseError, decodeErrorResult, type Hex, slice, toFunctionSelector } from 'viem'
import { PredictionMarketAbi } from './abi/PredictionMarket'
import { SwarmCoordinatorAbi } from './abi/SwarmCoordinator'

const NAMES = new Map<string, string>(
  [...SwarmCoordinatorAbi, ...PredictionMarketAbi]
    .filter((item) => item.type === 'error')
    .map((item) => [
      toFunctionSelector(`${item.name}(${item.inputs.map(({ type }) => type).join(',')})`),
      item.name,
    ]),
)
const SELECTOR_IN_TEXT = /0x[0-9a-f]{8}(?![0-9a-f])/gi
/** How the ABI writes `bytes` of four: a word that says 4, then the four and 28 zero bytes. */
const FOUR_BYTES = /0{63}4([0-9a-f]{8})(?=0{56})/g
const MAX_DEPTH = 12

/**
 * The name of the contract's error in whatever a library threw, or undefined when the failure isn't the contract's.
 * The four bytes that stand for it come as `data` of some cause, as bytes inside another contract's error (an entry
 * point reports what the account's call said), or only as text.
 */
export function contractErrorName(error: unknown): string | undefined {
  const found: string[] = []
  const texts: string[] = []
  collect(error, found, texts, 0)
  for (const data of found) {
    const name = nameInData(data as Hex)
    if (name) return name
  }
  for (const text of texts) {
    for (const [selector] of text.matchAll(SELECTOR_IN_TEXT)) {
      const name = NAMES.get(selector.toLowerCase())
      if (name) return name
    }
  }
  return undefined
}

/** Gathers revert data and messages of the error and all its causes. */
function collect(error: unknown, data: string[], texts: string[], depth: number): void {
  if (depth > MAX_DEPTH || typeof error !== 'object' || error === null) return
  const parts = error as Record<string, unknown>
  for (const key of ['data', 'raw', 'revertData']) {
    const value = parts[key]
    if (typeof value === 'string' && /^0x(?:[0-9a-f]{2}){4,}$/i.test(value)) data.push(value)
    else collect(value, data, texts, depth + 1)
  }
  for (const key of ['details', 'shortMessage', 'message']) {
    if (typeof parts[key] === 'string') texts.push(parts[key])
  }
  for (const key of ['cause', 'error']) collect(parts[key], data, texts, depth + 1)
}

function nameInData(data: Hex): string | undefined {
  const selector = slice(data, 0, 4).toLowerCase()
  return NAMES.get(selector) ?? nameOfNested(data) ?? nameOfCommonError(data)
}

/** An error handed on as `bytes` inside another. */
function nameOfNested(data: Hex): string | undefined {
  const names = [...data.toLowerCase().matchAll(FOUR_BYTES)].map(([, selector]) => NAMES.get(`0x${selector}`))
  return names.find((name) => name !== undefined)
}

/** `revert("reason")` is named by its reason; an assertion's failure by its code. */
function nameOfCommonError(data: Hex): string | undefined {
  try {
    const { errorName, args } = decodeErrorResult({ data })
    return errorName === 'Error' ? String(args[0]) : `${errorName}(${args.join(', ')})`
  } catch (error) {
    // Not one of the two errors of the language itself: an error that no ABI here knows.
    if (error instanceof BaseError) return undefined
    throw error
  }
}
