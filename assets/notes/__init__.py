"""What is derived from notes: the index, the graph, the JSON cache, and the answers they give."""
