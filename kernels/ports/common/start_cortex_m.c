/* Start-up of a Cortex-M: vector table, FPU and MVE, stack limit, memory protection, variables, and
 * the report of faults. */
#include "memory.h"
#include "port.h"
#include "semihost.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CCR REGISTER(0xE000ED14u)
#define SHCSR REGISTER(0xE000ED24u)
#define CFSR REGISTER(0xE000ED28u)
#define HFSR REGISTER(0xE000ED2Cu)
#define MMFAR REGISTER(0xE000ED34u)
#define BFAR REGISTER(0xE000ED38u)
#define CPACR REGISTER(0xE000ED88u)
#define MPU_CTRL REGISTER(0xE000ED94u)
#define MPU_RNR REGISTER(0xE000ED98u)
#define MPU_RBAR REGISTER(0xE000ED9Cu)
#define MPU_RASR REGISTER(0xE000EDA0u) /* v7-M */
#define MPU_RLAR REGISTER(0xE000EDA0u) /* v8-M */
#define MPU_MAIR0 REGISTER(0xE000EDC0u)

typedef struct {
    uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
} exception_frame;

void Reset_Handler(void) __attribute__((noreturn));
void Fault_Handler(void);

/* The vector table: the stack, then the handlers of the architecture. No interrupt is used. */
typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector VECTORS[16] = {
    {.stack = __stack_top},
    {.handler = Reset_Handler},
    {.handler = Fault_Handler}, /* NMI */
    {.handler = Fault_Handler}, /* HardFault */
    {.handler = Fault_Handler}, /* MemManage */
    {.handler = Fault_Handler}, /* BusFault */
    {.handler = Fault_Handler}, /* UsageFault */
    {.handler = Fault_Handler}, /* SecureFault (v8-M) */
    {0},
    {0},
    {0},
    {.handler = Fault_Handler}, /* SVCall */
    {.handler = Fault_Handler}, /* DebugMonitor */
    {0},
    {.handler = Fault_Handler}, /* PendSV */
    {.handler = Fault_Handler}, /* SysTick */
};

static const char *exception_name(uint32_t number)
{
    switch (number) {
    case 3:
        return "HardFault";
    case 4:
        return "MemManage fault";
    case 5:
        return "BusFault";
    case 6:
        return "UsageFault";
    case 7:
        return "SecureFault";
    }
    return "unexpected exception";
}

__attribute__((used)) void start_fault(const exception_frame *frame, uint32_t number)
{
    const uint32_t stack_limit_passed = 1u << 20; /* v8-M */

    port_print("\nfault: ");
    port_print(exception_name(number));
    if ((uintptr_t)frame < (uintptr_t)__stack_bottom || (CFSR & stack_limit_passed)) {
        port_print(" stack overflow ");
    } else {
        semihost_print_hex(" pc=", frame->pc);
        semihost_print_hex("lr=", frame->lr);
    }
    semihost_print_hex("CFSR=", CFSR);
    semihost_print_hex("HFSR=", HFSR);
    semihost_print_hex("MMFAR=", MMFAR);
    semihost_print_hex("BFAR=", BFAR);
    port_print("\n");
    port_exit(PORT_FAULT_STATUS);
}

/* The report runs at the top of the stack: what faulted may have been a stack that is full. */
__attribute__((naked)) void Fault_Handler(void)
{
    __asm__ volatile("mrs r0, msp\n\t"
                     "mrs r1, ipsr\n\t"
                     "ldr r2, =__stack_top\n\t"
                     "mov sp, r2\n\t"
                     "b start_fault\n\t"
                     ".ltorg");
}

static void enable_floating_point(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    /* Coprocessors 10 and 11 are the FPU and MVE. FPSCR stays at its reset value: round to nearest
     * even, subnormals kept, as docs/numerics.md asks for. */
    CPACR |= 0x00F00000u;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
}

static void enable_fault_reports(void)
{
    const uint32_t memory_bus_usage = 7u << 16, divide_by_zero = 1u << 4;

    SHCSR |= memory_bus_usage;
    CCR |= divide_by_zero;
#if __ARM_ARCH >= 8
    __asm__ volatile("msr msplim, %0" ::"r"(__stack_bottom));
#endif
}

/* Flash of an emulator is writable: the memory protection unit makes the code area, addresses below
 * 0x20000000, read-only as it is on a chip. Elsewhere the default map stays. */
static void protect_flash(void)
{
    const uint32_t enable = 1u, default_map_elsewhere = 1u << 2;

    MPU_RNR = 0;
#if __ARM_ARCH >= 8
    const uint32_t read_only = 3u << 1, last_block = 0x1FFFFFE0u, normal_cached = 0xFFu;

    MPU_MAIR0 = normal_cached;
    MPU_RBAR = read_only;
    MPU_RLAR = last_block | enable;
#else
    const uint32_t read_only = 6u << 24, normal_cached = 0xBu << 16, half_gigabyte = 28u << 1;

    MPU_RBAR = 0;
    MPU_RASR = read_only | normal_cached | half_gigabyte | enable;
#endif
    MPU_CTRL = default_map_elsewhere | enable;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

void Reset_Handler(void)
{
    const uint32_t *from = __data_load;

    enable_floating_point();
    enable_fault_reports();
    protect_flash();
    for (uint32_t *to = __data_start; to < __data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end;) {
        *to++ = 0;
    }
    memory_paint_stack();
    semihost_run();
}
