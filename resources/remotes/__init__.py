"""Remotes: other places that hold a repository's objects, and what is known of them."""
