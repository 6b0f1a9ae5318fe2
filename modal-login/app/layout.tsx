import type { Metadata, Viewport } from 'next'
import localFont from 'next/font/local'
import type { ReactNode } from 'react'
import './globals.css'

/** Inter (SIL Open Font License, `fonts/inter-licence.txt`), from our own server: nothing is asked of a font service. */
const inter = localFont({ src: './fonts/inter-latin.woff2', weight: '100 900', variable: '--font-inter' })

export const metadata: Metadata = {
  title: 'RL Swarm',
  description: 'The account of an RL Swarm node, its peers, rewards and votes.',
  // The address may carry the token until the page has put it away.
  referrer: 'no-referrer',
  robots: { index: false, follow: false },
}

export const viewport: Viewport = {
  colorScheme: 'light dark',
  themeColor: [
    { media: '(prefers-color-scheme: light)', color: '#f6f7f6' },
    { media: '(prefers-color-scheme: dark)', color: '#111416' },
  ],
}

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en" className={inter.variable}>
      <body>{children}</body>
    </html>
  )
}
