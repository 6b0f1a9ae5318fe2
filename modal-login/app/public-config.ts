import type { PublicConfig } from '@/lib/page'
import type { Settings } from '@/lib/settings'

/** The part of the settings that anybody who opens the page may read. */
export function publicConfig(settings: Settings): PublicConfig {
  const { apiKey, policyId, signerUrl, rpcUrl } = settings.alchemy
  return {
    wallet: settings.wallet,
    chainId: settings.chainId,
    rpcUrl: settings.rpcUrl,
    explorerUrl: settings.explorerUrl ?? null,
    swarmContract: settings.swarmContract ?? null,
    nodeAccount: settings.nodeAccount ?? null,
    market: settings.market ?? null,
    sessionDays: settings.sessionDays,
    tokenNeeded: !settings.allowUnauthenticated,
    alchemy:
      settings.wallet === 'alchemy'
        ? { apiKey: apiKey ?? null, policyId: policyId ?? null, signerUrl, rpcUrl: rpcUrl ?? null }
        : null,
  }
}
