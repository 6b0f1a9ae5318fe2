import dynamic from 'next/dynamic'
import { LocalLogin } from './local-login'
import type { LoginPanelProps } from './login-panel'

/** Account-kit is large, and only a page of the public network needs it. */
const AlchemyLogin = dynamic(() => import('./alchemy/login'), {
  ssr: false,
  loading: () => <p className="hint">Loading the login…</p>,
})

export interface LogInProps extends LoginPanelProps {
  mayAct: boolean
  tokenRefused: boolean
}

export function LogIn({ mayAct, tokenRefused, ...panel }: LogInProps) {
  if (!mayAct) return <TokenNeeded refused={tokenRefused} />
  return panel.config.wallet === 'alchemy' ? <AlchemyLogin {...panel} /> : <LocalLogin {...panel} />
}

function TokenNeeded({ refused }: { refused: boolean }) {
  return (
    <>
      {refused && <p role="alert">The token in the address isn’t this server’s: it refused to log you in.</p>}
      <p className="hint">
        This page only shows. To log in or out, open the address with the token printed in the terminal (
        <code>rl-swarm login</code> prints it again).
      </p>
    </>
  )
}
