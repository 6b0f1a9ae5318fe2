import { z } from 'zod'
import { currentAccount } from '@/lib/login'
import { get } from '@/lib/route'

export const GET = get(z.object({}), (_, context, caller) => currentAccount(context, caller.hasToken))
