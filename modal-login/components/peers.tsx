import { grouped, signed } from '@/lib/browser/words'
import type { PageStatus, PeerStatus } from '@/lib/page'
import { LongId } from './long-id'

/** The account's peers: each node is one. */
export function Peers({ status }: { status: PageStatus }) {
  const { peers, round } = status
  return (
    <section aria-labelledby="peers-title">
      <h2 id="peers-title">Peers</h2>
      {peers.length > 0 ? (
        <ul className="peers">
          {peers.map((peer) => (
            <Peer key={peer.peerId} peer={peer} />
          ))}
        </ul>
      ) : (
        <p className="card empty">
          {round
            ? 'This account has no peers yet: your node registers itself when it starts.'
            : 'The chain knows the peers of this account, and can’t be asked now.'}
        </p>
      )}
    </section>
  )
}

function Peer({ peer }: { peer: PeerStatus }) {
  const { lastReward, lastVote } = peer
  return (
    <li className="card peer">
      <h3>{peer.name}</h3>
      <p className="peer-id">
        <LongId value={peer.peerId} what={`peer id of ${peer.name}`} />
      </p>
      <dl>
        <div>
          <dt>Last reward</dt>
          <dd>
            {lastReward ? (
              <>
                {signed(lastReward.reward)} <small>in round {lastReward.round}</small>
              </>
            ) : (
              <span className="quiet">none lately</span>
            )}
          </dd>
        </div>
        <div>
          <dt>Total reward</dt>
          <dd>{signed(peer.totalReward)}</dd>
        </div>
        <div>
          <dt>Votes received</dt>
          <dd>{grouped(peer.totalWins)}</dd>
        </div>
        {peer.betTokens !== null && (
          <div>
            <dt>Bet tokens</dt>
            <dd>{peer.betTokens}</dd>
          </div>
        )}
        <div className="wide">
          <dt>Last vote</dt>
          <dd>
            {lastVote ? (
              <>
                {lastVote.winners.map(({ peerId, name }, place) => (
                  <span key={peerId}>
                    {place > 0 && ', '}
                    <span title={peerId}>{name}</span>
                  </span>
                ))}{' '}
                <small>in round {lastVote.round}</small>
              </>
            ) : (
              <span className="quiet">none lately</span>
            )}
          </dd>
        </div>
      </dl>
    </li>
  )
}
