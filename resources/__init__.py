"""Where the bytes live: storage, the object store, locks, the stat cache, git, and one typed store class per kind.

Imports `schemas` only. Nothing here knows what is derived from the text, or Dagster (but for `resources.dagster`).
"""
