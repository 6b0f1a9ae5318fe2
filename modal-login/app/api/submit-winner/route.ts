import { submitWinners } from '@/lib/calls'
import { post } from '@/lib/route'
import { submitWinnerBody } from '@/lib/schemas'
import { write } from '@/lib/writes'

export const POST = post(submitWinnerBody, (body, context) => write(context, body.orgId, submitWinners(body)))
