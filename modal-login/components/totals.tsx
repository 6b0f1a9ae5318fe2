import { grouped, signed, sum } from '@/lib/browser/words'
import type { PageStatus } from '@/lib/page'

/** The round, and what all peers of the account have together. A dash where the chain hasn't told yet. */
export function Totals({ status: { round, peers } }: { status: PageStatus }) {
  const known = round !== null
  const totals = [
    { label: 'Round', value: round ? String(round.round) : '–', note: round ? `stage ${round.stage}` : '' },
    { label: peers.length === 1 ? 'Peer' : 'Peers', value: known ? String(peers.length) : '–', note: '' },
    {
      label: 'Total reward',
      value: known ? signed(sum(peers.map((peer) => peer.totalReward))) : '–',
      note: '',
    },
    {
      label: 'Votes received',
      value: known ? grouped(sum(peers.map((peer) => peer.totalWins))) : '–',
      note: '',
    },
  ]
  return (
    <section aria-label="In all">
      <dl className="totals">
        {totals.map(({ label, value, note }) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>
              {value} {note && <small>{note}</small>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
