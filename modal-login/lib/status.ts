import type { Address } from 'viem'
import { NoContract } from './calls'
import type { Context } from './context'
import { currentAccount } from './login'
import type { PageStatus } from './page'
import { describePeers, peerIdsOf, roundAndStage } from './peers'
import { processWide } from './process-wide'
import { WalletUnavailable } from './wallet/wallet'

/** Pages ask every few seconds, and several may be open: the chain is asked no oftener than this. */
const FRESH_MS = 2_000
/** An account may own any number of peers; a page can't show them all. */
const MAX_PEERS = 50

type ChainState = Pick<PageStatus, 'round' | 'peers' | 'trouble'>

/** What this account is, and what the contract knows of it. A chain that is away is told in `trouble`, not thrown. */
export async function pageStatus(context: Context, tellEmail: boolean): Promise<PageStatus> {
  const account = await currentAccount(context, tellEmail)
  const nodeAccount = context.settings.nodeAccount ?? null
  const address = account ? account.address : nodeAccount
  const kind = account ? 'login' : nodeAccount ? 'node' : 'none'
  return { kind, account, address, ...(await freshChainState(context, address)) }
}

async function freshChainState(context: Context, address: Address | null): Promise<ChainState> {
  const { chainId, rpcUrl, swarmContract, market } = context.settings
  const kept = processWide(
    'chainStates',
    () => new Map<string, { until: number; state: Promise<ChainState> }>(),
  )
  for (const [name, { until }] of kept) {
    if (until < performance.now()) kept.delete(name)
  }
  const name = [chainId, rpcUrl, swarmContract, market, address].join(' ')
  const state = kept.get(name)?.state ?? lookUp(context, address)
  if (!kept.has(name)) kept.set(name, { until: performance.now() + FRESH_MS, state })
  return await state
}

async function lookUp(context: Context, address: Address | null): Promise<ChainState> {
  try {
    return await askChain(context, address)
  } catch (error) {
    if (!(error instanceof WalletUnavailable || error instanceof NoContract)) throw error
    return { round: null, peers: [], trouble: error.message }
  }
}

async function askChain(context: Context, address: Address | null): Promise<ChainState> {
  const { chain, settings } = context
  if (settings.swarmContract) await chain.requireContract(settings.swarmContract)
  const [{ round, stage }, owned] = await askTogether(context, address)
  const shown = owned.slice(-MAX_PEERS)
  const peers = address ? await chain.ask(() => describePeers(context, address, shown, round)) : []
  const hidden = owned.length - shown.length
  return {
    round: { round: Number(round), stage: Number(stage) },
    peers,
    trouble: hidden > 0 ? `Only the newest ${MAX_PEERS} of ${owned.length} peers are shown.` : null,
  }
}

function askTogether(context: Context, address: Address | null) {
  return context.chain.ask(() =>
    Promise.all([roundAndStage(context), address ? peerIdsOf(context, address) : Promise.resolve([])]),
  )
}
