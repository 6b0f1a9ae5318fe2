import { logOut } from '@/lib/login'
import { post } from '@/lib/route'
import { userOnly } from '@/lib/schemas'

export const POST = post(userOnly, (body, context) => logOut(context, body.orgId))
