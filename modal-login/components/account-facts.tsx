import { moment, timeLeft } from '@/lib/browser/words'
import type { PageStatus, PublicConfig } from '@/lib/page'
import { LongId } from './long-id'

/** Who the account is: address, email, and until when this node may act for it. */
export function AccountFacts({ config, status }: { config: PublicConfig; status: PageStatus }) {
  const { address, account } = status
  if (!address && !account) return null
  return (
    <dl className="facts">
      {address && (
        <div>
          <dt>Address</dt>
          <dd>
            <LongId value={address} what="address" />
            {config.explorerUrl && (
              <a href={`${config.explorerUrl}/address/${address}`} target="_blank" rel="noreferrer">
                Explorer<span className="visually-hidden"> (opens a new tab)</span>
              </a>
            )}
          </dd>
        </div>
      )}
      {account?.email && (
        <div>
          <dt>Email</dt>
          <dd className="breakable">{account.email}</dd>
        </div>
      )}
      {account?.activation === 'activated' && (
        <div>
          <dt>Session key</dt>
          <dd>
            {account.expiresAt ? (
              <>
                ends in {timeLeft(account.expiresAt)}{' '}
                <span className="quiet">({moment(account.expiresAt)})</span>
              </>
            ) : (
              'doesn’t end'
            )}
          </dd>
        </div>
      )}
    </dl>
  )
}
