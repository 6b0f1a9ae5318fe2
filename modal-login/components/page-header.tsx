import type { Watch } from '@/lib/browser/use-status'
import { clock, networkName } from '@/lib/browser/words'
import type { PublicConfig } from '@/lib/page'
import { Mark } from './mark'

/** Which network this is, and when the page last heard of it. */
export function PageHeader({ config, watch }: { config: PublicConfig; watch: Watch }) {
  const { state, words } = health(watch)
  return (
    <header className="page-header">
      <p className="brand">
        <Mark />
        RL Swarm
      </p>
      <p className="network">{networkName(config.chainId)}</p>
      <p className={`health ${state}`}>{words}</p>
    </header>
  )
}

function health({ status, chainIsAway, answeredAt, failure }: Watch): { state: string; words: string } {
  if (failure) return { state: 'away', words: answeredAt ? `last answer ${clock(answeredAt)}` : 'no answer' }
  if (!status || !answeredAt) return { state: 'asking', words: 'asking…' }
  if (chainIsAway) return { state: 'partly', words: `chain away, ${clock(answeredAt)}` }
  return { state: 'well', words: `up to date, ${clock(answeredAt)}` }
}
