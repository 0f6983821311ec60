"""The Dagster web UI of a workspace, on loopback and behind a guard of our own."""
