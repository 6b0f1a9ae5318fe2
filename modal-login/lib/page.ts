import type { Address } from 'viem'

/** What the page may know of the server's settings; sent to the browser at run time, nothing is baked into the build. */
export interface PublicConfig {
  wallet: 'local' | 'alchemy'
  chainId: number
  rpcUrl: string
  explorerUrl: string | null
  swarmContract: Address | null
  /** The key-file account of the node on this machine, where the node uses one. */
  nodeAccount: Address | null
  market: Address | null
  /** How long a session key may act, in days. */
  sessionDays: number
  /** False where the server takes orders without its token (LOGIN_ALLOW_UNAUTHENTICATED). */
  tokenNeeded: boolean
  /** Only in `alchemy` mode. */
  alchemy: { apiKey: string | null; policyId: string | null; signerUrl: string; rpcUrl: string | null } | null
}

/** What `GET /api/account` answers: the current login, without asking the chain. */
export interface Account {
  orgId: string
  /** The account that owns the peers; null until a key was activated. */
  address: Address | null
  /** Only told to callers with the token. */
  email?: string
  activation: 'activated' | 'pending' | 'expired'
  /** When the session key ends, seconds since the epoch; null where it doesn't. */
  expiresAt: number | null
}

/** One of the account's peers, as the contract knows it. */
export interface PeerStatus {
  peerId: string
  /** Its animal name, the same that the node shows. */
  name: string
  /** In the newest of the last rounds in which there was one; null when there was none in them. */
  lastReward: { round: number; reward: string } | null
  lastVote: { round: number; winners: readonly { peerId: string; name: string }[] } | null
  totalReward: string
  totalWins: string
  /** Balance of bet tokens in whole tokens, e.g. "12.5"; null where the network has no market. */
  betTokens: string | null
}

/** What `GET /api/status` answers: what this account is. */
export interface PageStatus {
  /** `login`: somebody is logged in; `node`: nobody is, and this is the key file's account of the node on this machine. */
  kind: 'login' | 'node' | 'none'
  account: Account | null
  /** The account shown: the login's, the node's, or null. */
  address: Address | null
  round: { round: number; stage: number } | null
  peers: readonly PeerStatus[]
  /** Why something above is missing, in a sentence (the chain is away); null when all is well. */
  trouble: string | null
}
