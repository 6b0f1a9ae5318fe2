import type { Settings } from '../settings'
import { type Wallet, WalletUnavailable } from './wallet'

export function makeAlchemyWallet(_settings: Settings): Wallet {
  throw new WalletUnavailable('This build has no Alchemy wallet. Set LOGIN_WALLET=local.')
}
