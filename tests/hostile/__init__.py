"""Files that lie, and what changes files until they do: what a reader must refuse without harm.

audio_files, checkpoints and model_files make them, corpus keeps them, mutate and repair change
them, targets has the readers and their promise; run and atheris_fuzz go on as long as they are
told.
"""
