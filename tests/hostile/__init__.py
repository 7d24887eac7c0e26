"""Files that lie, made in code: what a reader must refuse without harm."""
