import { createHmac, randomBytes } from 'node:crypto'
import path from 'node:path'
import { privateKeyToAccount } from 'viem/accounts'
import { z } from 'zod'
import { type Chain, chainOf } from '../chain'
import { readOrCreate } from '../files'
import type { Settings } from '../settings'
import { StoreDamaged } from '../store'
import { type ReplacementPolicy, sendTransaction } from './transaction'
import { type ContractCall, LoginRefused, type SigningKey, type UserData, type Wallet } from './wallet'

const stamp = z.object({ email: z.string().trim().toLowerCase().min(1).max(254) })

/**
 * Accounts for the local network: an email is only a label, and its account is a key of this server's own. All keys
 * follow from one secret in the data folder, so that the same email is the same account again after Log out, and keeps
 * its peers, as it would with a wallet service.
 */
export class LocalWallet implements Wallet {
  readonly kind = 'local'
  private readonly chain: Chain
  private readonly secretFile: string

  constructor(
    settings: Settings,
    private readonly policy?: ReplacementPolicy,
  ) {
    this.chain = chainOf(settings)
    this.secretFile = path.join(settings.dataDir, 'localAccounts.secret')
  }

  async identify(whoamiStamp: unknown): Promise<UserData> {
    const parsed = stamp.safeParse(whoamiStamp)
    if (!parsed.success)
      throw new LoginRefused('To log in on the local network, send {"email": "a name of your choice"}.')
    const { email } = parsed.data
    const { address } = privateKeyToAccount(await this.privateKey(email))
    const orgId = asUuid(await this.derive('organisation', email))
    return { orgId, address, userId: orgId, email }
  }

  async newKey(user: UserData): Promise<SigningKey> {
    if (user.email === undefined) throw new LoginRefused('A login of the local network has an email.')
    const privateKey = await this.privateKey(user.email)
    const { publicKey, address } = privateKeyToAccount(privateKey)
    return {
      publicKey,
      privateKey,
      createdAt: new Date().toISOString(),
      activated: true,
      accountAddress: address,
      initCode: '0x',
      deferredActionDigest: '0x',
    }
  }

  send(key: SigningKey, call: ContractCall) {
    return sendTransaction(this.chain, privateKeyToAccount(key.privateKey), call, this.policy)
  }

  private async privateKey(email: string): Promise<`0x${string}`> {
    return `0x${(await this.derive('account', email)).toString('hex')}`
  }

  /** 32 bytes for this purpose and email, the same on every call. */
  private async derive(purpose: string, email: string): Promise<Buffer> {
    const secret = await readOrCreate(this.secretFile, () => `${randomBytes(32).toString('hex')}\n`)
    if (!/^[0-9a-f]{64}$/.test(secret.trim())) {
      throw new StoreDamaged(
        `${this.secretFile} is damaged. Restore it, or delete it to begin with new accounts.`,
      )
    }
    return createHmac('sha256', Buffer.from(secret.trim(), 'hex')).update(`${purpose}\n${email}`).digest()
  }
}

/** The first 16 bytes as a UUID of version 8 (RFC 9562: custom). */
function asUuid(bytes: Buffer): string {
  const digits = bytes.subarray(0, 16)
  digits.writeUInt8((digits.readUInt8(6) & 0x0f) | 0x80, 6)
  digits.writeUInt8((digits.readUInt8(8) & 0x3f) | 0x80, 8)
  const text = digits.toString('hex')
  return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
