import { post } from '@/lib/route'
import { registerPeerBody } from '@/lib/schemas'
import { register } from '@/lib/writes'

export const POST = post(registerPeerBody, (body, context) => register(context, body))
