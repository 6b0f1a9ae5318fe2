import type { RefObject } from 'react'
import type { LoginApi } from '@/lib/browser/api'
import { moment } from '@/lib/browser/words'
import type { PageStatus, PublicConfig } from '@/lib/page'
import { AccountFacts } from './account-facts'
import { LogIn } from './log-in'
import { LogOut } from './log-out'
import { Peers } from './peers'
import { Totals } from './totals'

export interface AccountViewProps {
  config: PublicConfig
  api: LoginApi
  status: PageStatus
  /** This page has a token, or needs none. */
  mayAct: boolean
  /** The token that it had isn't the server's. */
  tokenRefused: boolean
  heading: RefObject<HTMLHeadingElement | null>
  /** Somebody logged in or out; the words are read out to who can't see the page change. */
  onDone: (what: string) => void
}

export function AccountView(props: AccountViewProps) {
  const { config, api, status, heading, onDone } = props
  const { account } = status
  const { title, lead, offersLogin } = situation(status, config)
  const logIn = (
    <LogIn
      config={config}
      api={api}
      mayAct={props.mayAct}
      tokenRefused={props.tokenRefused}
      onLoggedIn={() => onDone('You are logged in.')}
    />
  )
  return (
    <>
      <section className="card" aria-labelledby="account-title">
        <h1 id="account-title" ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {lead && <p className="lead">{lead}</p>}
        {offersLogin === 'first' && logIn}
        <AccountFacts config={config} status={status} />
        {offersLogin === 'aside' && (
          <details className="aside">
            <summary>Log in with an email label</summary>
            {logIn}
          </details>
        )}
        {account && (
          <LogOut
            api={api}
            account={account}
            mayAct={props.mayAct}
            tokenRefused={props.tokenRefused}
            onLoggedOut={() => onDone('You are logged out.')}
          />
        )}
      </section>
      {status.address && (
        <>
          <Totals status={status} />
          <Peers status={status} />
        </>
      )}
    </>
  )
}

interface Situation {
  title: string
  lead: string | null
  /** `first`: to log in is what this page is for now; `aside`: it is possible. */
  offersLogin: 'first' | 'aside' | null
}

function situation({ kind, account }: PageStatus, config: PublicConfig): Situation {
  if (kind === 'node')
    return {
      title: 'This node’s own account',
      lead: 'Its key is in .rl-swarm/account.key on this machine. No login is needed on this network.',
      offersLogin: 'aside',
    }
  if (account?.activation === 'expired')
    return {
      title: 'Log in again',
      lead: `The session key of this account ended${account.expiresAt ? ` on ${moment(account.expiresAt)}` : ''}. Its nodes go on training; what they owe the chain waits until you log in again with the same email.`,
      offersLogin: 'first',
    }
  if (account?.activation === 'pending')
    return {
      title: 'One step is left',
      lead: 'You are logged in, and your node waits for the permission to act for your account. Log in with the same email to give it.',
      offersLogin: 'first',
    }
  if (account) {
    const lead = config.nodeAccount
      ? 'The node on this machine uses its key file, another account: it is shown when you log out. Nodes that were started with blockchain.coordinator=modal use this one.'
      : null
    return { title: 'Your account', lead, offersLogin: null }
  }
  return {
    title: 'Log in',
    lead:
      config.wallet === 'alchemy'
        ? `An account on the chain holds your nodes’ peers, rewards and votes. Logging in makes it, and lets this node act for it for ${config.sessionDays} days.`
        : 'An account on the chain holds your nodes’ peers, rewards and votes. Its key stays on this machine.',
    offersLogin: 'first',
  }
}
