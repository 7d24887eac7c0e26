# Cortex-M3: no FPU, no DSP instructions; the portable kernels on soft floats.
CPU := -mcpu=cortex-m3
MACHINE := mps2-an385
include common/cortex_m.mk
