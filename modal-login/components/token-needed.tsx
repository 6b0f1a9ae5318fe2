/** In the place of what only the person who started the node may do. */
export function TokenNeeded({ refused }: { refused: boolean }) {
  return (
    <>
      {refused && (
        <p role="alert">The server refused: the token in the address that was opened isn’t its own.</p>
      )}
      <p className="hint">
        This page only shows. To log in or out, open the address with the token printed in the terminal ( the
        command <code>login</code> prints it again).
      </p>
    </>
  )
}
