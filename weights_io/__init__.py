"""Checkpoints in, model files out.

layout.py lists the tensors of a model; model_file.py reads and writes model files (FORMAT.md) on
the container of gguf.py; from_torch.py turns checkpoints into models, reading them with
torch_zip.py and safetensors.py, and tokenizers with tokenizer.py; quantize.py makes a model int8.
NumPy is all that is needed.
"""
