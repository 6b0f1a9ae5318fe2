import { processWide } from '../process-wide'
import type { Settings } from '../settings'
import { LocalWallet } from './local'
import type { Wallet } from './wallet'

/** The wallet that the settings name; made once. */
export function makeWallet(settings: Settings): Promise<Wallet> {
  const wallets = processWide('wallets', () => new Map<string, Promise<Wallet>>())
  const name = JSON.stringify(settings)
  const wallet = wallets.get(name) ?? make(settings)
  wallets.set(name, wallet)
  // A failure is told to whoever waits, and tried again for the next.
  wallet.catch(() => wallets.delete(name))
  return wallet
}

async function make(settings: Settings): Promise<Wallet> {
  if (settings.wallet === 'local') return new LocalWallet(settings)
  // Loaded only when it is used: it brings all of account-kit.
  const { makeAlchemyWallet } = await import('./alchemy')
  return await makeAlchemyWallet(settings)
}
