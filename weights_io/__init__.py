"""Files of other programs and what all files share: containers, text, atomic writing.

gguf.py is the container of model files (FORMAT.md); from_torch.py finds the state dict in a
checkpoint, which it reads with torch_zip.py and safetensors.py; tokenizer.py reads tokenizers;
files.py and text.py open, check and write. A leaf: nothing here knows a model or imports more of
ee_ref than its errors. NumPy is all that is needed.
"""
