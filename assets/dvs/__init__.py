"""What is built from versioned data: declarations, recipes and what they share."""
