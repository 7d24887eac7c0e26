# What the boards with a Cortex-M share.
CROSS := arm-none-eabi-
CPU += -mthumb
START := common/start_cortex_m.c common/semihost.c common/memory.c
LIBRARIES := -lm -lc
EMULATOR := qemu-system-arm
EMULATE = $(EMULATOR) -M $(MACHINE) -display none -serial none -monitor none \
    -chardev stdio,id=console -semihosting-config $(SEMIHOSTING) \
    $(COUNT) -kernel $(1)
