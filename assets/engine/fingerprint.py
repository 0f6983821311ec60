"""Fingerprints: the digest of everything that decides an artifact's bytes, and the versions of the libraries among it.

What the inputs' digests are is decided by the caller; nothing here reads a file of the workspace. Light: the versions come
from the names of the installed `*.dist-info` folders, because `importlib.metadata` alone takes a third of a `status`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from assets.engine.recipe import Kind, Recipe
from schemas.errors import HeadwaterError
from schemas.oid import json_oid


def _normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache(maxsize=1)
def _installed(search_path: tuple[str, ...]) -> Mapping[str, str]:
    """Distribution -> version over `search_path`; the first folder that has one wins, as in an import."""
    found: dict[str, str] = {}
    for folder in search_path:
        here: dict[str, str] = {}
        doubtful: set[str] = set()
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for entry in names:
            if entry.endswith(".dist-info"):
                name, _, version = entry.removesuffix(".dist-info").partition("-")
                name = _normalised(name)
                # Two versions side by side are the debris of a broken upgrade: ask the slow way which one is imported.
                if name in here:
                    doubtful.add(name)
                here[name] = version
        for name, version in here.items():
            if name not in doubtful:
                found.setdefault(name, version)
    return found


@lru_cache(maxsize=256)
def library_version(name: str) -> str:
    """The installed version of a distribution.

    Raises HeadwaterError (rule `library-missing`) when it is not installed.
    """
    known = _installed(tuple(sys.path)).get(_normalised(name))
    if known is not None:
        return known
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise HeadwaterError(
            f"the library {name} is not installed",
            rule="library-missing",
            fix=f"install it, for example with `pip install {name}`",
        ) from None


def libraries_of(recipe: Recipe) -> dict[str, str]:
    """Library -> version for every library the recipe declares."""
    return {name: library_version(name) for name in sorted(recipe.libraries)}


def parameters_of(kind: Kind, recipe: Recipe, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The store settings the recipe reads, defaults filled in from its kind."""
    defaults = {setting.name: setting.default for setting in kind.settings}
    return {name: settings.get(name, defaults.get(name)) for name in recipe.parameters}


def code_version(recipe: Recipe, parameters: Mapping[str, Any], libraries: Mapping[str, str]) -> str:
    """What Dagster shows as the code version: the recipe's version and 8 hexadecimal digits of all else but the inputs."""
    rest = json_oid({"parameters": dict(parameters), "libraries": dict(libraries)})
    return f"{recipe.version}-{rest.partition(':')[2][:8]}"


def fingerprint(
    kind: str,
    recipe: Recipe,
    parameters: Mapping[str, Any],
    libraries: Mapping[str, str],
    inputs: Mapping[str, str],
) -> str:
    """The oid over the canonical JSON of everything that decides the artifact's bytes.

    `inputs` holds role -> digest. The store's name is no part of it: two stores of equal content share one cached build.
    """
    return json_oid(
        {
            "recipe": f"{kind}/{recipe.name}",
            "version": recipe.version,
            "parameters": dict(parameters),
            "libraries": dict(libraries),
            "inputs": dict(inputs),
        }
    )


def item_base(kind: str, recipe: Recipe, parameters: Mapping[str, Any], libraries: Mapping[str, str]) -> dict[str, Any]:
    """What the fingerprints of all items of an artifact share."""
    return {
        "recipe": f"{kind}/{recipe.name}",
        "version": recipe.version,
        "parameters": dict(parameters),
        "libraries": dict(libraries),
    }


def input_digest(files: Sequence[tuple[str, str, int]], *, names: bool) -> str:
    """The Merkle root over (path, oid, size) entries: over sorted pairs, or without `names` over the sorted oids alone."""
    if names:
        return json_oid(sorted([path, oid] for path, oid, _ in files))
    return json_oid(sorted(oid for _, oid, _ in files))
