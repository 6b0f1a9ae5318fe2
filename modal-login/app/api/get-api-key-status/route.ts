import { apiKeyStatus } from '@/lib/login'
import { get, text } from '@/lib/route'
import { userOnly } from '@/lib/schemas'

export const GET = get(userOnly, async ({ orgId }, context) => text(await apiKeyStatus(context, orgId)))
