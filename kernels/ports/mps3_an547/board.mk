# Cortex-M55: FPU, MVE. Without "nomve.fp" the compiler may turn loops over floats into MVE
# instructions, which flush subnormal numbers to zero: float32 mode keeps them.
CPU := -mcpu=cortex-m55$(if $(filter yes,$(F32)),+nomve.fp) -mfloat-abi=hard
MACHINE := mps3-an547
include common/cortex_m.mk
