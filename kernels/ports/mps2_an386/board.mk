# Cortex-M4F: FPU of single precision, DSP instructions.
CPU := -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard
MACHINE := mps2-an386
include common/cortex_m.mk
