import { createHash } from 'node:crypto'
import type { Settings } from './settings'
import { VERSION } from './version'

/** By this a launcher knows a server on some port as its own: same folder, chain and contracts. */
export function health(settings: Settings) {
  return {
    service: 'rl-swarm-login',
    version: VERSION,
    wallet: settings.wallet,
    chainId: settings.chainId,
    contract: settings.swarmContract ?? null,
    market: settings.market ?? null,
    dataDir: createHash('sha256').update(settings.dataDir).digest('hex'),
  }
}
