"""The notes kind's files: reading a store, and editing its Markdown without touching more than has to change."""
