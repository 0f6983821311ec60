"""The text of a versioned-data repository: its configuration, sidecars, manifest, snapshots and log, in every generation.

Formats only; where bytes lie and how they move belongs to `resources.dvs`.
"""
