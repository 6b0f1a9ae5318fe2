'use client'

/** The server couldn't make the page: its settings are wrong, and its log says how. */
export default function ErrorPage() {
  return (
    <main className="shell">
      <section className="card">
        <h1>This page can’t be shown</h1>
        <p role="alert">
          The login server met an error that it can’t mend. Its log, <code>logs/yarn.log</code>, says which;
          start the node again when it is put right.
        </p>
      </section>
    </main>
  )
}
