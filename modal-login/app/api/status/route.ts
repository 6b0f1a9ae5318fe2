import { z } from 'zod'
import { get } from '@/lib/route'
import { pageStatus } from '@/lib/status'

export const GET = get(z.object({}), (_, context, caller) => pageStatus(context, caller.hasToken))
