"""What the files of a tables store mean: `project.yaml`, the CSV cells of each type, and the SQL both turn into.

Where the files lie belongs to `resources.tables`, what is built from them to `assets.tables`.
"""
