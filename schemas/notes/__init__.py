"""What a note is: its frontmatter, links, headings and tags, the store's settings, and the rules they are held to.

Meaning and spelling only: reading and editing files belongs to `resources.notes`, what is derived to `assets.notes`.
"""
