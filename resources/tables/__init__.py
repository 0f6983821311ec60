"""Where the bytes of a tables store live: reading, checking and editing its text through one storage.

What the text means belongs to `schemas.tables`, what is built from it to `assets.tables`.
"""
