/* Golden vectors: reads a file of cases, runs each on this build of the library and writes a file
 * of results, for the host to compare byte by byte.
 *
 *   vectors cases=FILE results=FILE [isa=NAME] [fault=OP]
 *
 * isa: the kernels to use. fault: an op that is to get one bit wrong, to show that it is noticed.
 *
 * Both files are "EEVECTOR", the version (1) and the number of records, then the records:
 *   char name[32]     of the op, zero-padded
 *   u32 arrays, bytes of all that follows, 0, 0
 *   each array: u32 type (ASCII: 'f' float32, 'b' int8, 'h' int16, 'i' int32), bytes, rows,
 *               columns; then the data, zero-padded to a multiple of 16, in rows of bytes/rows
 * Everything is little-endian. The first array of a case lies aligned to 64 bytes in memory, the
 * others to 16. The arrays of a case are the arguments of the op; those of a result are a status
 * (one int32: an ee_status or one of vectors.h) and, when it is 0, the op's outputs.
 */
#include "vectors.h"

#include <string.h>

#include "port.h"

enum {
    VERSION = 1,
    ARRAY_ALIGNMENT = 16,
    FIRST_ALIGNMENT = 64,
    FIRST_OFFSET = FIRST_ALIGNMENT - ARRAY_ALIGNMENT, /* of a case in its memory */
    GUARD_BYTES = 64,
    GUARD = 0xA5
};

static const char MAGIC[8] = {'E', 'E', 'V', 'E', 'C', 'T', 'O', 'R'};

typedef struct {
    char magic[8];
    uint32_t version, records;
} file_header;

typedef struct {
    char name[32];
    uint32_t arrays, bytes, zero[2];
} record_header;

typedef struct {
    uint32_t type, bytes, rows, columns;
} array_header;

static size_t padded(size_t bytes)
{
    return (bytes + ARRAY_ALIGNMENT - 1) / ARRAY_ALIGNMENT * ARRAY_ALIGNMENT;
}

static size_t element_bytes(uint32_t type)
{
    return type == 'b' ? 1 : type == 'h' ? 2 : 4;
}

/* The guard of the memory taken before lies in front of this one's. */
void *vectors_take(vectors_case *run, size_t bytes)
{
    unsigned char *const memory = runner_take(run->memory, bytes + GUARD_BYTES);

    if (run->guard_count == VECTORS_MAX_GUARDS) {
        runner_fail("case", "more arrays than there are guards");
    }
    run->guards[run->guard_count++] = memory + bytes;
    memset(memory + bytes, GUARD, GUARD_BYTES);
    return memory;
}

static int guards_hold(const vectors_case *run)
{
    for (size_t i = 0; i < run->guard_count; i++) {
        for (size_t b = 0; b < GUARD_BYTES; b++) {
            if (run->guards[i][b] != GUARD) {
                return 0;
            }
        }
    }
    return 1;
}

void *vectors_output(vectors_case *run, char type, size_t rows, size_t columns)
{
    vectors_array *const array = &run->outputs[run->output_count++];

    array->type = (uint32_t)type;
    array->rows = rows;
    array->columns = columns;
    array->data = vectors_take(run, rows * columns * element_bytes(array->type));
    return array->data;
}

static int parse(vectors_case *run, unsigned char *data, size_t bytes, size_t arrays)
{
    size_t at = 0;

    if (arrays > VECTORS_MAX_INPUTS) {
        return 0;
    }
    for (size_t i = 0; i < arrays; i++) {
        array_header header;
        if (bytes - at < sizeof header) {
            return 0;
        }
        memcpy(&header, data + at, sizeof header);
        at += sizeof header;
        const size_t values = (size_t)header.rows * header.columns;
        if (bytes - at < padded(header.bytes)
            || header.bytes < values * element_bytes(header.type)) {
            return 0;
        }
        run->inputs[i].type = header.type;
        run->inputs[i].rows = header.rows;
        run->inputs[i].columns = header.columns;
        run->inputs[i].data = data + at;
        at += padded(header.bytes);
    }
    run->input_count = arrays;
    return at == bytes;
}

static void write_array(int file, const vectors_array *array)
{
    static const unsigned char ZEROS[ARRAY_ALIGNMENT];
    const size_t bytes = array->rows * array->columns * element_bytes(array->type);
    const array_header header = {
        array->type, (uint32_t)bytes, (uint32_t)array->rows, (uint32_t)array->columns,
    };

    if (!port_write(file, &header, sizeof header) || !port_write(file, array->data, bytes)
        || !port_write(file, ZEROS, padded(bytes) - bytes)) {
        runner_fail("results", "cannot be written");
    }
}

static void write_result(int file, const char *name, const vectors_case *run, int32_t status)
{
    const vectors_array state = {'i', 1, 1, &status};
    const size_t outputs = status == 0 ? run->output_count : 0;
    record_header header = {.arrays = (uint32_t)(1 + outputs)};
    size_t bytes = sizeof(array_header) + padded(sizeof status);

    for (size_t i = 0; i < outputs; i++) {
        const vectors_array *const output = &run->outputs[i];
        bytes += sizeof(array_header)
                 + padded(output->rows * output->columns * element_bytes(output->type));
    }
    header.bytes = (uint32_t)bytes;
    memcpy(header.name, name, sizeof header.name);
    if (!port_write(file, &header, sizeof header)) {
        runner_fail("results", "cannot be written");
    }
    write_array(file, &state);
    for (size_t i = 0; i < outputs; i++) {
        write_array(file, &run->outputs[i]);
    }
}

static int32_t run_case(vectors_case *run, const char *name, unsigned char *data,
                        const record_header *header)
{
    if (!parse(run, data, header->bytes, header->arrays)) {
        return VECTORS_BAD_CASE;
    }
    for (const vectors_op *op = VECTORS_OPS; op->name != NULL; op++) {
        if (runner_equal(op->name, name)) {
            const int32_t status = op->run(run);
            return guards_hold(run) ? status : VECTORS_OVERRUN;
        }
    }
    return VECTORS_UNKNOWN_OP;
}

static int open_file(const char *name, port_mode mode)
{
    const int file = port_open(name, mode);

    if (file < 0) {
        runner_fail(name, "cannot be opened");
    }
    return file;
}

int port_main(int argc, char **argv)
{
    const char *const cases_name = runner_argument(argc, argv, "cases");
    const char *const results_name = runner_argument(argc, argv, "results");
    runner_memory memory = runner_memory_open();
    file_header head;

    if (cases_name == NULL || results_name == NULL) {
        runner_fail("usage", "cases=FILE results=FILE [isa=NAME] [fault=OP]");
    }
    vectors_setup(runner_argument(argc, argv, "isa"), runner_argument(argc, argv, "fault"));

    const int cases = open_file(cases_name, PORT_READ);
    const int results = open_file(results_name, PORT_WRITE);
    if (!port_read(cases, &head, sizeof head) || memcmp(head.magic, MAGIC, sizeof MAGIC) != 0
        || head.version != VERSION) {
        runner_fail(cases_name, "not a file of cases of version 1");
    }
    port_write(results, &head, sizeof head);
    for (uint32_t i = 0; i < head.records; i++) {
        static vectors_case run;
        const size_t mark = memory.used;
        record_header header;

        if (!port_read(cases, &header, sizeof header) || header.name[31] != '\0') {
            runner_fail(cases_name, "ends too early or is not a file of cases");
        }
        unsigned char *const data =
            (unsigned char *)runner_take(&memory, FIRST_OFFSET + header.bytes) + FIRST_OFFSET;
        if (!port_read(cases, data, header.bytes)) {
            runner_fail(cases_name, "ends too early");
        }
        memset(&run, 0, sizeof run);
        run.memory = &memory;
        const int32_t status = run_case(&run, header.name, data, &header);
        write_result(results, header.name, &run, status);
        if (!run.keep) {
            runner_release(&memory, mark);
        }
    }
    port_close(cases);
    port_close(results);
    runner_print_count("cases run", head.records);
    runner_print_count("stack bytes", port_stack_peak());
    return 0;
}
