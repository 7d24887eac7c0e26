/* The port of this machine: frames on stdin and stdout.
 *
 *   ee_conformance_desk [ISA [WRONG]]
 *
 * ISA, or else EE_REF_ISA, names the kernels to use (ee_isas.inc): the best ones
 * by default. WRONG is an op of int8 mode whose kernel gets one bit wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ee_conformance.h"

enum { MEMORY_BYTES = 64 * 1024 * 1024 };

static unsigned char memory[MEMORY_BYTES] __attribute__((aligned(64)));

static size_t read_stdin(void *context, void *data, size_t bytes)
{
    size_t done = 0;

    (void)context;
    while (done < bytes) {
        const ssize_t now = read(STDIN_FILENO, (char *)data + done, bytes - done);
        if (now == 0 || (now < 0 && errno != EINTR)) {
            break;
        }
        done += now > 0 ? (size_t)now : 0;
    }
    return done;
}

static int write_stdout(void *context, const void *data, size_t bytes)
{
    size_t done = 0;

    (void)context;
    while (done < bytes) {
        const ssize_t now = write(STDOUT_FILENO, (const char *)data + done, bytes - done);
        if (now < 0 && errno != EINTR) {
            return 0;
        }
        done += now > 0 ? (size_t)now : 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    const char *const wanted = argc > 1 ? argv[1] : getenv("EE_REF_ISA");
    const ee_isa isa = wanted != NULL && *wanted != '\0' ? ee_isa_find(wanted) : ee_isa_best();

    if (isa == EE_ISA_COUNT) {
        fprintf(stderr, "ee_conformance_desk: no instruction set of this CPU: %s\n", wanted);
        return 2;
    }
    const ee_ops *const right = ee_ops_for(isa);
    const ee_ops *const ops = argc > 2 ? ee_conformance_wrong(right, argv[2]) : right;
    if (ops == NULL) {
        fprintf(stderr, "ee_conformance_desk: no kernel of that name: %s\n", argv[2]);
        return 2;
    }
    const ee_conformance port = {
        .read = read_stdin,
        .write = write_stdout,
        .memory = memory,
        .bytes = sizeof memory,
        .name = "desk",
        .version = "1",
        .isa = ee_isa_name(isa),
        .ops = ops,
    };

    return ee_conformance_serve(&port) == EE_CONFORMANCE_BYE ? 0 : 1;
}
