import type { Hash } from 'viem'
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts'
import type { Settings } from '../settings'
import { type AccountClientMaker, modularAccountClient } from './alchemy-account'
import { LOGIN_EXPIRED } from './alchemy-errors'
import { OPERATION_REPLACEMENT, sendOperation } from './alchemy-operation'
import { whoami } from './alchemy-whoami'
import { permissionDeadline } from './permission-deadline'
import type { ReplacementPolicy } from './transaction'
import { type ContractCall, type SigningKey, type UserData, type Wallet, WalletUnavailable } from './wallet'

/**
 * Smart accounts of people who log in with email, passkey or Google: their owner's key is at Alchemy's signer, and this
 * server acts with a key of its own that the owner permits for a limited time. A policy of Alchemy's pays.
 */
export class AlchemyWallet implements Wallet {
  readonly kind = 'alchemy'

  constructor(
    private readonly settings: Settings,
    private readonly makeClient: AccountClientMaker = modularAccountClient,
    private readonly policy: ReplacementPolicy = OPERATION_REPLACEMENT,
  ) {}

  identify(whoamiStamp: unknown): Promise<UserData> {
    return whoami(this.settings, whoamiStamp)
  }

  /** Waits for its permission. `publicKey` is the key's address: that is what a permission names. */
  async newKey(): Promise<SigningKey> {
    const privateKey = generatePrivateKey()
    return {
      publicKey: privateKeyToAddress(privateKey),
      privateKey,
      createdAt: new Date().toISOString(),
      activated: false,
    }
  }

  async send(key: SigningKey, call: ContractCall): Promise<Hash> {
    const deadline = permissionDeadline(key.deferredActionDigest ?? '0x')
    if (deadline !== null && deadline <= Date.now() / 1000) throw new WalletUnavailable(LOGIN_EXPIRED)
    return await sendOperation(() => this.makeClient(this.settings, key), call, this.policy)
  }
}

export function makeAlchemyWallet(settings: Settings): Wallet {
  return new AlchemyWallet(settings)
}
