import { submitReward } from '@/lib/calls'
import { post } from '@/lib/route'
import { submitRewardBody } from '@/lib/schemas'
import { write } from '@/lib/writes'

export const POST = post(submitRewardBody, (body, context) => write(context, body.orgId, submitReward(body)))
