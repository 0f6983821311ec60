"""The tables kind: what a project of `project.yaml` and CSV files is built into."""
