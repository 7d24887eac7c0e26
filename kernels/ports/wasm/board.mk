# WebAssembly, as any engine has it, under Node.
COMPILER := clang
CROSS := llvm-
CPU := --target=wasm32 -mbulk-memory -nostdlibinc -isystem $(abspath wasm/include)
# What has to travel is small; the kernels with vectors are as fast as with -O2.
OPTIMISE := -Os
HOSTED := yes
START := wasm/start.c wasm/string.c
# The stack below everything else: what overflows it traps.
LIBRARIES := -Wno-unused-command-line-argument -nostdlib \
    -Wl,--no-entry,--stack-first,-z,stack-size=65536
TOOLS := wasm-ld $(CROSS)ar
EMULATOR := node
PLUGINS := no
EMULATE = $(EMULATOR) $(abspath wasm/port.mjs) $(1) $(ARGUMENTS)
