"""The object server: a storage of objects over HTTP, verified on the way in and on the way out."""
