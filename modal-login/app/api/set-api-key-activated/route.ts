import { activateApiKey } from '@/lib/login'
import { post } from '@/lib/route'
import { activationBody } from '@/lib/schemas'

export const POST = post(activationBody, (body, context) => activateApiKey(context, body))
