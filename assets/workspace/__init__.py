"""What is derived from the workspace as a whole, over every kind: the catalog."""
