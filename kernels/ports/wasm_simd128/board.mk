# WebAssembly with vectors of 128 bits.
include wasm/board.mk
CPU += -msimd128
