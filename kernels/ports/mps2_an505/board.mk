# Cortex-M33: FPU of single precision, DSP instructions.
CPU := -mcpu=cortex-m33 -mfpu=fpv5-sp-d16 -mfloat-abi=hard
MACHINE := mps2-an505
include common/cortex_m.mk
