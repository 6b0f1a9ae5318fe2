import { betTokenBalance } from '@/lib/market'
import { post } from '@/lib/route'
import { betTokenBalanceBody } from '@/lib/schemas'

export const POST = post(betTokenBalanceBody, async (body, context) => ({
  result: String(await betTokenBalance(context, body.peerId)),
}))
