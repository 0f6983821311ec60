"""What is derived: the engine, and one package per kind with its pure recipes and the Dagster assets that wrap them.

Imports `schemas` and `resources`. Only `assets/*/definitions.py` may import Dagster.
"""
