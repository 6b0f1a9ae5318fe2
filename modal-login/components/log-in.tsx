import dynamic from 'next/dynamic'
import { LocalLogin } from './local-login'
import type { LoginPanelProps } from './login-panel'
import { TokenNeeded } from './token-needed'

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
