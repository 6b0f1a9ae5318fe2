import type { Address, Hex } from 'viem'
import type { Anvil } from './anvil'

export const MARKET: Address = `0x${'3a'.repeat(20)}`
const BALANCE = 12_500_000_000_000_000_000n

/**
 * Put something in the market's place that takes every call and answers 12.5 tokens to all of them: PUSH32 balance,
 * PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN. The market's own code is not to be had; what is sent to it is what tests
 * look at.
 */
export async function setMarket(anvil: Anvil): Promise<void> {
  const word = BALANCE.toString(16).padStart(64, '0')
  const bytecode: Hex = `0x7f${word}60005260206000f3`
  await anvil.client.setCode({ address: MARKET, bytecode })
}
