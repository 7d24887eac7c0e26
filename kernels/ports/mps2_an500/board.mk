# Cortex-M7: FPU of double precision, DSP instructions.
CPU := -mcpu=cortex-m7 -mfpu=fpv5-d16 -mfloat-abi=hard
MACHINE := mps2-an500
include common/cortex_m.mk
