import type { LoginApi } from '@/lib/browser/api'
import type { PublicConfig } from '@/lib/page'

/** What every way to log in is given (`components/local-login.tsx`, `components/alchemy/login.tsx`). */
export interface LoginPanelProps {
  config: PublicConfig
  api: LoginApi
  /** The key is activated: the page shows the account. */
  onLoggedIn: () => void
}
