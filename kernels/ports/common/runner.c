#include "runner.h"

#include "port.h"

enum { ALIGNMENT = 64 };

void runner_fail(const char *what, const char *why)
{
    port_print("error: ");
    port_print(what);
    port_print(": ");
    port_print(why);
    port_print("\n");
    port_exit(1);
}

runner_memory runner_memory_open(void)
{
    runner_memory memory = {0};

    memory.start = port_memory(&memory.bytes);
    return memory;
}

void *runner_take(runner_memory *memory, size_t bytes)
{
    unsigned char *const taken = memory->start + memory->used;
    const size_t left = memory->bytes - memory->used;
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    if (rounded < bytes || rounded > left) {
        runner_print_count("bytes wanted", bytes);
        runner_print_count("bytes left", left);
        runner_fail("memory", "not enough RAM on this board");
    }
    memory->used += rounded;
    if (memory->used > memory->peak) {
        memory->peak = memory->used;
    }
    return taken;
}

void runner_release(runner_memory *memory, size_t used)
{
    memory->used = used;
}

int runner_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *runner_argument(int argc, char **argv, const char *key)
{
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        const char *wanted = key;
        while (*wanted != '\0' && *text == *wanted) {
            text++;
            wanted++;
        }
        if (*wanted == '\0' && *text == '=') {
            return text + 1;
        }
    }
    return NULL;
}

float runner_number(const char *text)
{
    /* Digits and power of ten are exact floats, so that the quotient is rounded once. */
    const uint32_t exact = 1u << 24;
    uint32_t digits = 0, power = 1;
    int decimals = 0, any = 0;

    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '.' && !decimals) {
            decimals = 1;
            continue;
        }
        if (*at < '0' || *at > '9') {
            runner_fail(text, "not a decimal number");
        }
        any = 1;
        digits = 10 * digits + (uint32_t)(*at - '0');
        power *= decimals ? 10 : 1;
        if (digits > exact || power > 10000000) {
            runner_fail(text, "more digits than float32 holds");
        }
    }
    if (!any) {
        runner_fail(text, "not a decimal number");
    }
    return (float)digits / (float)power;
}

static void print_digits(uint32_t value, int least)
{
    char text[11];
    int at = sizeof text - 1;

    text[at] = '\0';
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
        least--;
    } while (value != 0 || least > 0);
    port_print(text + at);
}

void runner_print_text(const char *name, const char *text)
{
    port_print(name);
    port_print(": ");
    port_print(text);
    port_print("\n");
}

void runner_print_count(const char *name, size_t value)
{
    port_print(name);
    port_print(": ");
    print_digits((uint32_t)value, 1);
    port_print("\n");
}

void runner_print_float(const char *name, float value)
{
    const float size = value < 0 ? -value : value;

    port_print(name);
    port_print(value < 0 ? ": -" : ": ");
    if (!(size < 4e9f)) {
        port_print(size > 0 ? "inf" : "nan");
    } else {
        const uint32_t whole = (uint32_t)size;
        print_digits(whole, 1);
        port_print(".");
        print_digits((uint32_t)((size - (float)whole) * 1e6f), 6);
    }
    port_print("\n");
}
