/* Where every trap ends: no interrupt is used. */
#include "port.h"
#include "semihost.h"

void start_trap(uint32_t cause, uint32_t pc, uint32_t value) __attribute__((noreturn));

void start_trap(uint32_t cause, uint32_t pc, uint32_t value)
{
    port_print("\nfault: trap");
    semihost_print_hex(" mcause=", cause);
    semihost_print_hex("mepc=", pc);
    semihost_print_hex("mtval=", value);
    port_print("\n");
    port_exit(PORT_FAULT_STATUS);
}
