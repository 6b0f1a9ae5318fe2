import path from 'node:path'
import { isAddress } from 'viem'
import { z } from 'zod'
import { keepPrivate, readIfThere, replaceFile } from './files'
import { inTurn } from './queue'
import type { ApiKey, UserData } from './wallet/wallet'

/** A state file can't be read as what it should be; the message says which, and what to do. */
export class StoreDamaged extends Error {}

/** Who is logged in, and with which keys; both by orgId. The newest log-in comes first in `users`. */
export interface Logins {
  users: Map<string, UserData>
  keys: Map<string, ApiKey[]>
}

const hex = z.custom<`0x${string}`>((value) => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value))
/** With 0x; without it in files of the first login servers, whose keys can sign nothing here (`canSign`). */
const privateKey = z.string().regex(/^(0x[0-9a-fA-F]*|[0-9a-fA-F]{60,64})$/)
const address = z.custom<`0x${string}`>(
  (value) => typeof value === 'string' && isAddress(value, { strict: false }),
)
// Loose: what another version has written beside the known fields is kept.
const user = z.looseObject({
  orgId: z.string(),
  address,
  userId: z.string(),
  email: z.string().optional(),
})
const apiKey = z.looseObject({
  publicKey: z.string(),
  privateKey,
  createdAt: z.string(),
  activated: z.boolean(),
  accountAddress: address.optional(),
  initCode: hex.optional(),
  deferredActionDigest: hex.optional(),
  expiresAt: z.number().optional(),
})
const usersFile = z.record(z.string(), user)
const keysFile = z.record(z.string(), z.array(apiKey))

/** `userData.json` and `userApiKey.json` in one folder. Nothing is kept in memory: the files are the truth. */
export class Store {
  private readonly usersPath: string
  private readonly keysPath: string

  constructor(readonly folder: string) {
    this.usersPath = path.join(folder, 'userData.json')
    this.keysPath = path.join(folder, 'userApiKey.json')
  }

  /** Throws StoreDamaged. */
  async read(): Promise<Logins> {
    const [users, keys] = await Promise.all([
      readRecord(this.usersPath, usersFile),
      readRecord(this.keysPath, keysFile),
    ])
    return { users, keys }
  }

  /** Read, let `edit` change it, write; one change at a time. Throws StoreDamaged, and then writes nothing. */
  change<T>(edit: (logins: Logins) => T): Promise<T> {
    return inTurn(`store ${this.folder}`, async () => {
      const logins = await this.read()
      const before = { users: asText(logins.users), keys: asText(logins.keys), count: logins.keys.size }
      const result = edit(logins)
      const writeUsers = () => replaceIfChanged(this.usersPath, before.users, asText(logins.users))
      const writeKeys = () => replaceIfChanged(this.keysPath, before.keys, asText(logins.keys))
      // In this order a crash in between leaves at worst a user without a key, who logs in again; never a key without
      // a user, which no Log out would remove.
      const writes = logins.keys.size < before.count ? [writeKeys, writeUsers] : [writeUsers, writeKeys]
      for (const write of writes) await write()
      return result
    })
  }
}

async function readRecord<T>(file: string, schema: z.ZodType<Record<string, T>>): Promise<Map<string, T>> {
  await keepPrivate(file)
  const text = await readIfThere(file)
  if (text === undefined) return new Map()
  return new Map(Object.entries(parseState(file, text, schema)))
}

function parseState<T>(file: string, text: string, schema: z.ZodType<T>): T {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw new StoreDamaged(`${file} is not JSON. ${REMEDY}`, { cause: error })
  }
  const parsed = schema.safeParse(content)
  if (parsed.success) return parsed.data
  // Places only: a message about a value could carry a key into a log.
  const places = parsed.error.issues.map((issue) => issue.path.slice(1).join('.') || 'the file')
  throw new StoreDamaged(`${file} is not what it should be (${[...new Set(places)].join(', ')}). ${REMEDY}`)
}

const REMEDY = 'It was left as it is: repair it, or move it away and log in again.'

async function replaceIfChanged(file: string, before: string, after: string): Promise<void> {
  if (before !== after) await replaceFile(file, after)
}

function asText(records: Map<string, unknown>): string {
  return `${JSON.stringify(Object.fromEntries(records), null, 2)}\n`
}
