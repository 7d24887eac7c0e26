# 32-bit RISC-V with an FPU of single precision (rv32imafc); the portable kernels.
CROSS := riscv64-unknown-elf-
CPU := -march=rv32imafc -mabi=ilp32f -misa-spec=2.2 -mcmodel=medany --specs=picolibc.specs
START := virt_rv32/start.S virt_rv32/trap.c common/semihost.c common/memory.c
LIBRARIES := -lm -lc
EMULATOR := qemu-system-riscv32
EMULATE = $(EMULATOR) -M virt -cpu rv32 -m 64M -bios none -display none -serial none \
    -monitor none -chardev stdio,id=console -semihosting-config $(SEMIHOSTING) \
    $(COUNT) -kernel $(1)
