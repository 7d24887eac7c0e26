/* Does what a program must not do, kind=flash, undefined or stack, to show that the start-up code
 * reports it and ends with PORT_FAULT_STATUS. */
#include "port.h"
#include "runner.h"

static const uint32_t CONSTANT = 1;
static const uint32_t *volatile where = &CONSTANT;

static void write_flash(void)
{
    *(volatile uint32_t *)(uintptr_t)where = 2;
}

static void run_undefined(void)
{
    __builtin_trap();
}

static __attribute__((noinline)) uint32_t overflow_stack(uint32_t depth)
{
    volatile uint32_t frame[64];

    frame[depth % 64] = depth;
    return depth == UINT32_MAX ? 0 : overflow_stack(depth + 1) + frame[depth % 64];
}

int port_main(int argc, char **argv)
{
    const char *const kind = runner_argument(argc, argv, "kind");

    if (kind == NULL) {
        runner_fail("usage", "kind=flash, undefined or stack");
    }
    if (runner_equal(kind, "flash")) {
        write_flash();
    } else if (runner_equal(kind, "undefined")) {
        run_undefined();
    } else if (runner_equal(kind, "stack")) {
        return (int)overflow_stack(0);
    }
    runner_fail(kind, "nothing happened");
}
