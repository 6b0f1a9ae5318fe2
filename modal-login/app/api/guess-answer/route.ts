import { guessAnswer } from '@/lib/calls'
import { post } from '@/lib/route'
import { guessAnswerBody } from '@/lib/schemas'
import { write } from '@/lib/writes'

export const POST = post(guessAnswerBody, (body, context) => write(context, body.orgId, guessAnswer(body)))
