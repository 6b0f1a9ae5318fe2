import type { Abi, Address, Hash, Hex } from 'viem'

/** One user, as `userData.json` keeps it under its `orgId`. */
export interface UserData {
  orgId: string
  /** The signer's own address; the account that owns peers is `ApiKey.accountAddress`. */
  address: Address
  userId: string
  email?: string
}

/** A key that this server may act with for a user, as `userApiKey.json` keeps it. Its private key never leaves the file. */
export interface ApiKey {
  publicKey: string
  /** Of secp256k1, with 0x. Earlier login servers kept keys of another kind, without: see `canSign`. */
  privateKey: string
  /** When it was made, ISO 8601. */
  createdAt: string
  activated: boolean
  /** The rest is known once the key is activated. The account on the chain: a smart account, or a plain one. */
  accountAddress?: Address
  /** What deploys the smart account with its first operation; `0x` for a plain account. */
  initCode?: Hex
  /** The user's signed permission for this key (account-kit's deferred action); `0x` for a plain account. */
  deferredActionDigest?: Hex
  /** When the permission ends, seconds since the epoch; absent where it doesn't. */
  expiresAt?: number
}

/** A key that the chain knows the kind of. */
export type SigningKey = ApiKey & { privateKey: Hex }

export function canSign(key: ApiKey): key is SigningKey {
  return /^0x[0-9a-fA-F]{64}$/.test(key.privateKey)
}

/** A contract call to make from the user's account. */
export interface ContractCall {
  address: Address
  abi: Abi
  functionName: string
  args: readonly unknown[]
}

/** Who may act, and how their calls reach the chain. */
export interface Wallet {
  readonly kind: 'local' | 'alchemy'

  /**
   * Who made this stamp. Throws LoginRefused when nobody can be told from it, WalletUnavailable when the service that
   * knows doesn't answer.
   */
  identify(whoamiStamp: unknown): Promise<UserData>

  /** A new key for the user; already activated where no permission has to be given (`local`). */
  newKey(user: UserData): Promise<SigningKey>

  /**
   * Make the call from the key's account and wait until the chain has included it; returns the hash of the transaction
   * (`local`) or of the user operation (`alchemy`). Throws ContractRefused, WalletUnavailable. Callers see to it that an
   * account has one call at a time (`lib/queue.ts`).
   */
  send(key: SigningKey, call: ContractCall): Promise<Hash>
}

/** The contract refuses the call. `name` is the custom error's, e.g. `PeerIdAlreadyRegistered`. */
export class ContractRefused extends Error {
  constructor(readonly errorName: string) {
    super(`The contract refuses: ${errorName}.`)
  }
}

/** The stamp shows no user, or an expired one; the message is a sentence for the user. */
export class LoginRefused extends Error {}

/** Chain, bundler or signer service don't answer, or don't include what was sent; worth another try later. */
export class WalletUnavailable extends Error {}
