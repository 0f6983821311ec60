"""Every rule of the notes kind: its id, severity and one sentence, in one place. Light: standard library only.

Who finds what: `note-…` rules that a single file can break are found by `schemas.notes.parse`; `link-…` rules need the whole
store and are found where links are resolved; `notes-…` rules are about the store: its settings, files and names.

Nothing here keeps a store from being indexed. An error says that something is lost or wrong as the text stands (a link that
leads nowhere, frontmatter that cannot be read), a warning that something is probably not meant, an info that it could be better.
"""

from __future__ import annotations

from schemas.findings import Severity, rule

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

# The file as text.
UNREADABLE = rule("note-unreadable", _ERROR, "Every note can be opened and read.")
ENCODING = rule("note-encoding", _ERROR, "Notes are UTF-8 without errors.")
NUL = rule("note-nul", _WARNING, "Notes hold no NUL characters.")
TOO_LARGE = rule("note-too-large", _ERROR, "A note stays below the size cap.")
LFS_POINTER = rule("note-lfs-pointer", _ERROR, "A note is its text, not a Git-LFS pointer to it.")
CONFLICT = rule("note-conflict-markers", _ERROR, "Notes hold no unresolved merge.")
TOO_MANY = rule("note-too-many-links", _WARNING, "A note holds a bounded number of links, headings and tags.")

# The frontmatter.
UNCLOSED = rule("note-frontmatter-unclosed", _ERROR, "Frontmatter that is opened is closed.")
FRONTMATTER = rule("note-frontmatter", _ERROR, "Frontmatter is valid YAML without anchors, aliases or tags.")
MAPPING = rule("note-frontmatter-mapping", _ERROR, "Frontmatter is a list of keys with values.")
FRONTMATTER_SIZE = rule("note-frontmatter-size", _WARNING, "Frontmatter stays below 10 KiB.")
TABS = rule("note-frontmatter-tabs", _WARNING, "Frontmatter is indented with spaces.")
DUPLICATE_KEY = rule("note-duplicate-key", _ERROR, "A key stands once in the frontmatter; the first counts.")
TYPE = rule("note-bad-type", _WARNING, "A key of the frontmatter holds the kind of value it is for.")
VALUE = rule("note-bad-value", _ERROR, "The value of a note is a whole number from 0 to 100.")
DATE = rule("note-bad-date", _WARNING, "Dates can be understood in one way only.")
TAG_COMMENT = rule("note-tag-comment", _WARNING, "Tags that begin with # are quoted: YAML takes them for a comment.")
ID = rule("note-bad-id", _WARNING, "Ids are made of letters, digits, - and _.")
MISSING_ID = rule("note-missing-id", _WARNING, "A note in a store has an id.")
MISSING_TITLE = rule("note-missing-title", _WARNING, "A note in a store has a title.")
NOTE_TYPE = rule("note-unknown-type", _ERROR, "Note types are those of the ontology, where one is declared.")
LINK_ENTRY = rule("note-bad-link", _WARNING, "An entry of links has a type and an id.")
SOURCE_ENTRY = rule("note-bad-source", _WARNING, "An entry of sources has a url.")
TEMPLATE = rule("note-template-left", _INFO, "Placeholders of a template are filled in.")

# What the note says.
BARE_LINKS = rule("note-bare-links", _INFO, "A link in a list comes with a few words that say why it is there.")
LONG = rule("note-long", _INFO, "A note has at most 1,500 words and 50 paragraphs.")
EMPTY_MOC = rule("note-empty-moc", _WARNING, "A map of content links to at least one note.")
COMPACTION = rule("note-compaction", _ERROR, "A note is digested by one other at most, never by itself or in a circle.")

# The name of the file.
FILE_NAME = rule("note-file-name", _INFO, "The file of a note in a store is named by its id and title.")
PORTABLE_NAME = rule("note-portable-name", _WARNING, "File names can exist on every platform.")

# Links, resolved.
BROKEN = rule("link-broken", _ERROR, "Links lead to a note or a file that exists.")
BROKEN_ANCHOR = rule("link-broken-anchor", _WARNING, "The heading or block a link names exists.")
AMBIGUOUS = rule("link-ambiguous", _WARNING, "A link fits one note only.")
CASE = rule("link-case", _INFO, "A link is spelled as its target: upper and lower case, accents.")
OUTSIDE = rule("link-outside", _WARNING, "Links stay inside the store.")
SELF = rule("link-self", _WARNING, "A note does not link to itself without naming a heading or a block.")
ATTACHMENT = rule("link-broken-attachment", _ERROR, "Attachments that are linked or shown exist.")
CONTRADICTION = rule("link-contradiction", _WARNING, "Two notes are not linked by types that contradict each other.")
CYCLE = rule("link-cycle", _WARNING, "Types that put notes in an order do not run in a circle.")
LINK_TYPE = rule("link-unknown-type", _ERROR, "Link types are those of the ontology, where one is declared.")

# The store.
DUPLICATE_ID = rule("notes-duplicate-id", _ERROR, "An id belongs to one note.")
COLLIDING = rule("notes-colliding-names", _WARNING, "No two files have names that some platform takes for one.")
NEAR_DUPLICATE = rule("notes-near-duplicate", _INFO, "Two notes do not say nearly the same.")
ORPHANED_ATTACHMENT = rule("notes-orphaned-attachment", _WARNING, "Every file among the attachments is linked from a note.")
LARGE_ATTACHMENT = rule("notes-large-attachment", _WARNING, "Attachments stay below the size cap.")
DERIVED_COMMITTED = rule("notes-derived-committed", _WARNING, "Derived files are not committed to git.")
IGNORED = rule("notes-ignored", _WARNING, "Notes of a store that git has are not ignored by it.")
TAG_ALIAS = rule("notes-tag-alias", _WARNING, "A tag alias leads to a tag that is used and is no alias itself.")
CONFIG = rule("notes-config", _ERROR, "config.toml is valid TOML and its values are of the right kind.")
CONFIG_KEY = rule("notes-config-key", _WARNING, "config.toml holds only keys that mean something.")
CONFIG_DEPRECATED = rule("notes-config-deprecated", _WARNING, "config.toml uses the current names of its tables.")
CONFIG_NEWER = rule("notes-config-newer", _ERROR, "config.toml has a version this program knows.")
GUIDANCE = rule("notes-type-guidance", _INFO, "Types of an ontology say when to use them.")
OBSIDIAN = rule("notes-obsidian-settings", _INFO, "Settings of Obsidian that apply here can be read.")
