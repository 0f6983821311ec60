"""When and how it runs: Dagster definitions, sensors, schedules, the guarded web UI and the command line.

The top layer: it may import every other one, and no other one imports it.
"""
