import { type Chain, chainOf } from './chain'
import { readSettings, type Settings } from './settings'
import { Store } from './store'
import { makeWallet } from './wallet/make'
import type { Wallet } from './wallet/wallet'

/** What answering a request needs. */
export interface Context {
  settings: Settings
  store: Store
  chain: Chain
  /** Only on demand: the code of a wallet service is large. */
  wallet: () => Promise<Wallet>
}

/** Throws SettingsError. */
export function makeContext(settings: Settings = readSettings()): Context {
  return {
    settings,
    store: new Store(settings.dataDir),
    chain: chainOf(settings),
    wallet: () => makeWallet(settings),
  }
}
