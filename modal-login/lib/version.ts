/** The project's version, as `pyproject.toml` says it; a test compares them. */
export const VERSION = '0.2.0'
