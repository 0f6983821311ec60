"""The engine: scan, fingerprint, build, publish, record. Complete without Dagster, and light until a recipe has to run."""
