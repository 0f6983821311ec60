"""What `init` writes: a first project, and what git should know about it (which files are derived, that no cell is rewritten).

The templates, and what is missing from files people already have; those are reported, never forced in. Light: standard
library only.
"""

from __future__ import annotations

GITIGNORE = """\
# Derived from project.yaml and data/ by Headwater; delete it whenever you like.
/playground.db
/playground.db-*
/playground.db.bak-*
/playground.duckdb
/playground.duckdb.*
# Left behind by interrupted commands.
*.tmp
*.torn
/.playground/
"""

GITATTRIBUTES = """\
# A quoted cell may hold CR LF, and history.log names text by its digest: git must not touch line ends.
# The merge driver comes with `headwater git setup`.
*.csv -text merge=headwater-tables diff=headwater-tables
project.yaml -text
history.log -text merge=union
history/* -text -diff -merge
"""

FIRST_PROJECT = """\
version: 1
project:
  name: @name@
tables:
  item:
    title: Things
    columns:
      id: {type: integer}
      name: {type: text, nullable: false, max_length: 80}
      price: {type: "decimal(10,2)", min: 0}
      added: {type: date}
    primary_key: [id]
"""
FIRST_ROWS = """\
id,name,price,added
1,First thing,9.90,2024-01-31
2,Second thing,,
"""


def missing_lines(template: str, present: str) -> list[str]:
    """The lines of `template` that a file people already have does not say, comments left out."""
    said = {" ".join(line.split()).lstrip("/") for line in present.splitlines()}
    lines = [line for line in template.splitlines() if line and not line.startswith("#")]
    return [line for line in lines if " ".join(line.split()).lstrip("/") not in said]
