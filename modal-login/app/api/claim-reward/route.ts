import { claimReward } from '@/lib/calls'
import { post } from '@/lib/route'
import { claimRewardBody } from '@/lib/schemas'
import { write } from '@/lib/writes'

export const POST = post(claimRewardBody, (body, context) => write(context, body.orgId, claimReward(body)))
