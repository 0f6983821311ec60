"""Turns stores, recipes and sources into Dagster assets, the one place where that happens.

`keys` names things, `session` is what the assets of a run share, `factory` makes the assets, `events` says what happened,
`checks` proves a store. Building is not here (`assets.engine.engine`), and neither is when things run (`orchestration`). Every
fact Dagster needs (the source root that was read, the output digest, the code version) is handed to it explicitly; it infers none
of them.
"""
