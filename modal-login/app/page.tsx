import { connection } from 'next/server'
import { NodePage } from '@/components/node-page'
import { readSettings } from '@/lib/settings'
import { publicConfig } from './public-config'

export default async function Page() {
  // The settings are this run's environment, not the build's.
  await connection()
  return <NodePage config={publicConfig(readSettings())} />
}
