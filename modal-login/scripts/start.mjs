/**
 * Starts the built server. Next's own start listens on all addresses unless HOSTNAME says otherwise, and shells and
 * containers set HOSTNAME to the machine's name: so both are set here, from LOGIN_HOST and LOGIN_PORT.
 */
process.env.HOSTNAME = process.env.LOGIN_HOST || '127.0.0.1'
process.env.PORT = process.env.LOGIN_PORT || '3000'
process.env.NEXT_TELEMETRY_DISABLED = '1'
await import('../.next/standalone/server.js')
