# aarch64 as a Linux program: NEON, and dot or matrix products of int8 where the CPU has them.
CROSS := aarch64-linux-gnu-
CPU := -march=armv8-a -static
HOSTED := yes
F32 := yes
START := common/linux.c
LIBRARIES := -lm
# The emulator that is linked statically cannot load the plugin that counts instructions.
EMULATOR := $(or $(shell command -v qemu-aarch64),qemu-aarch64-static)
PLUGINS := $(if $(filter %-static,$(EMULATOR)),no)
# Another CPU: cortex-a72 has neither, neoverse-n1 only the first.
EMULATED ?= max
EMULATE = $(EMULATOR) -cpu $(EMULATED) $(COUNT) $(1) $(ARGUMENTS)
