import { z } from 'zod'
import { health } from '@/lib/health'
import { get } from '@/lib/route'

export const GET = get(z.object({}), async (_, context) => health(context.settings))
