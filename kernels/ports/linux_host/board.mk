# This machine: the same programs without an emulator, to compare with and to debug.
CROSS :=
CPU :=
HOSTED := yes
START := common/linux.c
LIBRARIES := -lm
EMULATOR := env
PLUGINS := no
EMULATE = $(1) $(ARGUMENTS)
