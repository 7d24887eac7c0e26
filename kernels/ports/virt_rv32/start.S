/* Start-up of a RISC-V hart in machine mode: stack, FPU, traps, memory
   protection, variables; and the semihosting call. */
    .section .start, "ax"
    .globl _start
_start:
    csrr t0, mhartid
    bnez t0, park
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, __stack_top
    la t0, trap
    csrw mtvec, t0

    /* mstatus.FS on; fcsr 0: round to nearest even, no flags. */
    li t0, 0x6000
    csrs mstatus, t0
    csrw fcsr, zero

    /* The flash of an emulator is writable: physical memory protection, locked so that it binds
       machine mode too, allows reading and executing the 32 MB there and nothing else. */
    la t0, __flash_start
    srli t0, t0, 2
    li t1, (32 << 20 >> 3) - 1
    or t0, t0, t1
    csrw pmpaddr0, t0
    li t0, 0x9D
    csrw pmpcfg0, t0

    la t0, __data_load
    la t1, __data_start
    la t2, __data_end
1:  bgeu t1, t2, 2f
    lw t3, 0(t0)
    sw t3, 0(t1)
    addi t0, t0, 4
    addi t1, t1, 4
    j 1b
2:  la t1, __bss_start
    la t2, __bss_end
3:  bgeu t1, t2, 4f
    sw zero, 0(t1)
    addi t1, t1, 4
    j 3b
4:  call memory_paint_stack
    call semihost_run

park:
    wfi
    j park

    /* The report runs at the top of the stack: what faulted may have been a stack that is full. */
    .balign 4
trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    la sp, __stack_top
    call start_trap

/* intptr_t semihost_call(intptr_t operation, const void *argument): the three instructions that a
   debugger looks for, uncompressed and within one page. */
    .section .text.semihost_call, "ax"
    .balign 16
    .globl semihost_call
    .type semihost_call, @function
    .option push
    .option norvc
semihost_call:
    slli x0, x0, 0x1f
    ebreak
    srai x0, x0, 7
    ret
    .option pop
    .size semihost_call, . - semihost_call
