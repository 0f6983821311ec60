"""What the files mean: safe reading with positions, canonical writing, models, ids, oids and migrations.

The lowest layer. Nothing here opens a network connection, knows where a workspace lies, or imports a higher layer.
"""
