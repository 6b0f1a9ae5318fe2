import { getApiKey } from '@/lib/login'
import { post } from '@/lib/route'
import { getApiKeyBody } from '@/lib/schemas'

export const POST = post(getApiKeyBody, (body, context) => getApiKey(context, body.whoamiStamp))
