/* The conformance suite on a board: frames over the host's stdin and stdout, or over the files that
 * the arguments name.
 *
 *   conformance [isa=NAME] [wrong=OP] [in=FILE] [out=FILE]
 *
 * isa: the kernels to use. wrong: an op of int8 mode whose kernel gets one bit wrong.
 */
#include <string.h>

#include "../../conformance/ee_conformance.h"
#include "port.h"
#include "runner.h"

/* The SHA-256 of the image, in hexadecimal; rules.mk makes it. */
extern const char port_image_sha256[];

typedef struct {
    int in, out;
} files;

static size_t receive(void *context, void *data, size_t bytes)
{
    return port_read(((files *)context)->in, data, bytes) ? bytes : 0;
}

static int send(void *context, const void *data, size_t bytes)
{
    return port_write(((files *)context)->out, data, bytes);
}

static int open_file(const char *name, port_mode mode)
{
    const int file = port_open(name, mode);

    if (file < 0) {
        runner_fail(name, "cannot be opened");
    }
    return file;
}

/* The kernels of a name, or the best ones. */
static ee_isa find_isa(const char *name)
{
    const ee_isa isa = name != NULL ? ee_isa_find(name) : ee_isa_best();

    if (isa == EE_ISA_COUNT) {
        runner_fail(name, "no instruction set of this CPU");
    }
    return isa;
}

/* Those kernels, one of them wrong if that is wanted. */
static const ee_ops *find_ops(ee_isa isa, const char *wrong)
{
    const ee_ops *const right = ee_ops_for(isa);
    const ee_ops *const ops = wrong != NULL ? ee_conformance_wrong(right, wrong) : right;

    if (ops == NULL) {
        runner_fail(wrong, "no kernel of that name");
    }
    return ops;
}

int port_main(int argc, char **argv)
{
    const char *const in = runner_argument(argc, argv, "in");
    const char *const out = runner_argument(argc, argv, "out");
    const ee_isa isa = find_isa(runner_argument(argc, argv, "isa"));
    const ee_ops *const ops = find_ops(isa, runner_argument(argc, argv, "wrong"));
    runner_memory memory = runner_memory_open();
    files both = {
        .in = open_file(in != NULL ? in : "/dev/stdin", PORT_READ),
        .out = open_file(out != NULL ? out : "/dev/stdout", PORT_WRITE),
    };
    const ee_conformance port = {
        .read = receive,
        .write = send,
        .context = &both,
        .memory = memory.start,
        .bytes = memory.bytes,
        .name = PORT_NAME,
        .version = "1",
        .isa = ee_isa_name(isa),
        .ops = ops,
        .image = port_image,
        .image_bytes = (size_t)(port_image_end - port_image),
        .image_sha256 = port_image_sha256,
    };

    return ee_conformance_serve(&port) == EE_CONFORMANCE_BYE ? 0 : 1;
}
