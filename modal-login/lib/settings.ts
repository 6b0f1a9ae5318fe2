import path from 'node:path'
import { isAddress } from 'viem'
import { z } from 'zod'

/**
 * What the launcher tells the server, read from the environment when it is asked for, never baked into the build:
 * Next replaces `process.env.NEXT_PUBLIC_X` while it compiles, so names are only ever looked up in the whole object.
 */
const address = z.custom<`0x${string}`>(
  (value) => typeof value === 'string' && isAddress(value, { strict: false }),
)
const flag = z.stringbool().default(false)
/** An empty variable is one that isn't set. */
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => value || undefined, schema.optional())

const environment = z.object({
  /** Which wallet provider: `local` (keys kept by this server) or `alchemy` (browser login). */
  LOGIN_WALLET: z.enum(['local', 'alchemy']).default('local'),
  LOGIN_DATA_DIR: optional(z.string()),
  LOGIN_ALLOW_UNAUTHENTICATED: flag,
  /** Host names besides localhost by which this server may be called, comma-separated. */
  LOGIN_ALLOWED_HOSTS: z.string().default(''),
  LOGIN_SESSION_DAYS: z.coerce.number().positive().max(365).default(30),
  /** The account of the node that started this server, shown when nobody is logged in. */
  LOGIN_NODE_ACCOUNT: optional(address),
  SWARM_CHAIN_ID: z.coerce.number().int().positive().default(685_685),
  SWARM_RPC_URL: z.url().default('https://gensyn-testnet.g.alchemy.com/public'),
  SWARM_EXPLORER_URL: optional(z.url()),
  SWARM_CONTRACT_ADDRESS: optional(address),
  PRG_CONTRACT_ADDRESS: optional(address),
  NEXT_PUBLIC_ALCHEMY_API_KEY: optional(z.string()),
  NEXT_PUBLIC_PAYMASTER_POLICY_ID: optional(z.string()),
  /** Where Alchemy's signer service and bundler are; others than Alchemy's own for tests. */
  ALCHEMY_SIGNER_URL: z.url().default('https://api.g.alchemy.com/signer'),
  ALCHEMY_RPC_URL: optional(z.url()),
})

export interface Settings {
  wallet: 'local' | 'alchemy'
  /** Absolute path of the folder with userData.json, userApiKey.json and token. */
  dataDir: string
  allowUnauthenticated: boolean
  allowedHosts: readonly string[]
  sessionDays: number
  nodeAccount: `0x${string}` | undefined
  chainId: number
  rpcUrl: string
  explorerUrl: string | undefined
  swarmContract: `0x${string}` | undefined
  market: `0x${string}` | undefined
  alchemy: {
    apiKey: string | undefined
    policyId: string | undefined
    signerUrl: string
    rpcUrl: string | undefined
  }
}

export class SettingsError extends Error {}

/** Throws SettingsError with every variable that is wrong. */
export function readSettings(environ: Record<string, string | undefined> = process.env): Settings {
  const parsed = environment.safeParse(environ)
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new SettingsError(`The login server's environment can't be used: ${faults.join('; ')}.`)
  }
  const given = parsed.data
  return {
    wallet: given.LOGIN_WALLET,
    // The bundler would take it for files of the app, and deliver whatever lies there: keys.
    dataDir: path.resolve(/* turbopackIgnore: true */ given.LOGIN_DATA_DIR ?? 'temp-data'),
    allowUnauthenticated: given.LOGIN_ALLOW_UNAUTHENTICATED,
    allowedHosts: given.LOGIN_ALLOWED_HOSTS.split(',')
      .map((host) => host.trim().toLowerCase())
      .filter(Boolean),
    sessionDays: given.LOGIN_SESSION_DAYS,
    nodeAccount: given.LOGIN_NODE_ACCOUNT,
    chainId: given.SWARM_CHAIN_ID,
    rpcUrl: given.SWARM_RPC_URL,
    explorerUrl: given.SWARM_EXPLORER_URL,
    swarmContract: given.SWARM_CONTRACT_ADDRESS,
    market: given.PRG_CONTRACT_ADDRESS,
    alchemy: {
      apiKey: given.NEXT_PUBLIC_ALCHEMY_API_KEY,
      policyId: given.NEXT_PUBLIC_PAYMASTER_POLICY_ID,
      signerUrl: given.ALCHEMY_SIGNER_URL,
      rpcUrl: given.ALCHEMY_RPC_URL,
    },
  }
}
