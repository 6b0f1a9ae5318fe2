import type { SmartAccountSigner } from '@aa-sdk/core'
import { AlchemySignerWebClient, type User } from '@account-kit/signer'
import { hashMessage, hashTypedData } from 'viem'
import type { PublicConfig } from '@/lib/page'
import { LogInStopped } from './faults'

/** The frame of Alchemy's signer, which keeps the user's key out of this page's reach, is put into this element. */
export const FRAME_CONTAINER_ID = 'alchemy-signer'
/** How long the signer's own session lasts: it is only needed until this server's key has its permission. */
export const SIGNER_SESSION_SECONDS = 900
const FRAME_TIMEOUT_MS = 20_000

/**
 * Account-kit's client of Alchemy's signer. Its higher layer (`AlchemyWebSigner`) would keep the session in the
 * browser's storage; nothing of it has to outlive a log-in here.
 */
export function makeSigner({ alchemy }: PublicConfig): AlchemySignerWebClient {
  const apiKey = alchemy?.apiKey
  if (!alchemy || !apiKey) {
    throw new LogInStopped(
      'This login server has no Alchemy project. Set NEXT_PUBLIC_ALCHEMY_API_KEY and ' +
        'NEXT_PUBLIC_PAYMASTER_POLICY_ID, then start the node again.',
    )
  }
  // Account-kit adds the last part of the address by itself.
  const server = alchemy.signerUrl.replace(/\/signer\/*$/, '')
  const container = document.getElementById(FRAME_CONTAINER_ID)
  container?.replaceChildren()
  return new AlchemySignerWebClient({
    connection: { rpcUrl: server, jwt: apiKey },
    iframeConfig: { iframeContainerId: FRAME_CONTAINER_ID },
  })
}

/** Loads the signer's frame, which email and Google need. Throws LogInStopped when it doesn't come. */
export async function openFrame(signer: AlchemySignerWebClient): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new LogInStopped("Alchemy's signer (auth.turnkey.com) does not load. Are you online?")),
      FRAME_TIMEOUT_MS,
    )
  })
  try {
    await Promise.race([signer.targetPublicKey(), tooLong])
  } finally {
    clearTimeout(timer)
  }
}

/** The user as the owner of a smart account. */
export function ownerOf(
  signer: AlchemySignerWebClient,
  user: User,
): SmartAccountSigner<AlchemySignerWebClient> {
  return {
    signerType: 'alchemy-signer',
    inner: signer,
    getAddress: async () => user.address,
    signMessage: (message) => signer.signRawMessage(hashMessage(message)),
    signTypedData: (typedData) => signer.signRawMessage(hashTypedData(typedData)),
  }
}
