# aarch64 as a Linux program: NEON, and dot products where the CPU has them.
CROSS := aarch64-linux-gnu-
CPU := -march=armv8-a -static
HOSTED := yes
START := common/linux.c
LIBRARIES := -lm
# The emulator that is linked statically cannot load the plugin that counts instructions.
EMULATOR := $(or $(shell command -v qemu-aarch64),qemu-aarch64-static)
PLUGINS := $(if $(filter %-static,$(EMULATOR)),no)
EMULATE = $(EMULATOR) -cpu max $(COUNT) $(1) $(ARGUMENTS)
