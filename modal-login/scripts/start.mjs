/**
 * Starts the built server. Next's own start listens on all addresses unless HOSTNAME says otherwise, and shells and
 * containers set HOSTNAME to the machine's name: so both are set here, from LOGIN_HOST and LOGIN_PORT.
 */
import path from 'node:path'

process.env.HOSTNAME = process.env.LOGIN_HOST || '127.0.0.1'
process.env.PORT = process.env.LOGIN_PORT || '3000'
process.env.NEXT_TELEMETRY_DISABLED = '1'
// Absolute, because the server changes into its own folder, which the next build deletes.
process.env.LOGIN_DATA_DIR = path.resolve(
  process.env.LOGIN_DATA_DIR || path.join(import.meta.dirname, '..', 'temp-data'),
)
if (process.env.LOGIN_ENDS_WITH_STDIN === '1') {
  // The launcher holds the other end, which the system closes however the launcher ends.
  process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM')).resume()
}
await import('../.next/standalone/server.js')
