/** Three peers that share: the same drawing as `app/icon.svg`. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" className="mark-ground" />
      <path d="M16 9.5 8.5 21.5h15z" className="mark-links" />
      <g className="mark-peers">
        <circle cx="16" cy="9.5" r="3.6" />
        <circle cx="8.5" cy="21.5" r="3.6" />
        <circle cx="23.5" cy="21.5" r="3.6" />
      </g>
    </svg>
  )
}
