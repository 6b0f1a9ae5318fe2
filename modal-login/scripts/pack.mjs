/** Puts what the standalone server serves beside it: Next leaves static files and `public` out. */
import { cp } from 'node:fs/promises'
import path from 'node:path'
import { noteSources } from './sources.mjs'

const root = path.resolve(import.meta.dirname, '..')
const standalone = path.join(root, '.next', 'standalone')
await cp(path.join(root, '.next', 'static'), path.join(standalone, '.next', 'static'), { recursive: true })
await cp(path.join(root, 'public'), path.join(standalone, 'public'), { recursive: true })
await noteSources()
