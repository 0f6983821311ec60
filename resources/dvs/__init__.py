"""Versioned data: a repository's tracked text, its objects, its working tree, and what moves between them and remotes."""
