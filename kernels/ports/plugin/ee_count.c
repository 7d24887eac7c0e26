/* ee_count: a QEMU TCG plugin that counts executed instructions by stage and by function. QEMU
 * knows nothing of cycles, caches or wait states: these are instructions, the same in every run.
 *
 *   -plugin ee_count.so,map=FILE,out=FILE[,stage=NAME@FUNCTION...]
 *
 * map: the output of `nm -S --defined-only`. A stage begins whenever its FUNCTION is entered and
 * lasts until another one begins; the first is "start". out gets lines
 *   total N
 *   stage NAME N         in order of time, one line for each time that a stage was reached
 *   function NAME N      the most first
 * A block of instructions without a jump counts when it is entered, for the function where it
 * begins.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of the plugin interface, version 1, that is used (docs/devel/tcg-plugins of QEMU): its
 * header comes with few distributions of the emulator. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t id,
                                                            struct qemu_plugin_tb *block));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block,
                                          qemu_plugin_vcpu_udata_cb_t callback,
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, enum qemu_plugin_op op,
                                              void *counter, uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id,
                                    void (*callback)(qemu_plugin_id_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { MAX_FUNCTIONS = 16384, MAX_STAGES = 64, MAX_SPANS = 4096, NAME_BYTES = 96 };

typedef struct {
    uint64_t address, bytes, count;
    char name[NAME_BYTES];
} function;

typedef struct {
    const char *name, *function;
} stage;

/* A stretch of time within one stage. */
typedef struct {
    const char *name;
    uint64_t count;
} span;

static function functions[MAX_FUNCTIONS];
static size_t function_count;
static stage stages[MAX_STAGES];
static size_t stage_count;
static span spans[MAX_SPANS] = {{"start", 0}};
static size_t span_count = 1;
static uint64_t elsewhere; /* instructions of no known function */
static uint64_t counted;   /* instructions of the spans that are over */
static const char *out_name;

static int by_address(const void *a, const void *b)
{
    const function *const left = a, *const right = b;

    return (left->address > right->address) - (left->address < right->address);
}

static int by_count(const void *a, const void *b)
{
    const function *const left = a, *const right = b;

    return (left->count < right->count) - (left->count > right->count);
}

static function *function_at(uint64_t address)
{
    size_t low = 0, high = function_count;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (functions[middle].address + functions[middle].bytes <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < function_count && functions[low].address <= address ? &functions[low] : NULL;
}

static uint64_t total(void)
{
    uint64_t sum = elsewhere;

    for (size_t i = 0; i < function_count; i++) {
        sum += functions[i].count;
    }
    return sum;
}

static void begin_stage(unsigned int vcpu, void *data)
{
    const stage *const begun = data;
    const uint64_t now = total();

    (void)vcpu;
    spans[span_count - 1].count += now - counted;
    counted = now;
    if (spans[span_count - 1].name != begun->name && span_count < MAX_SPANS) {
        spans[span_count++].name = begun->name;
    }
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    const uint64_t address = qemu_plugin_tb_vaddr(block);
    function *const where = function_at(address);

    (void)id;
    if (where != NULL && where->address == address) {
        for (size_t i = 0; i < stage_count; i++) {
            if (strcmp(stages[i].function, where->name) == 0) {
                qemu_plugin_register_vcpu_tb_exec_cb(block, begin_stage, QEMU_PLUGIN_CB_NO_REGS,
                                                     &stages[i]);
            }
        }
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64,
                                             where != NULL ? &where->count : &elsewhere,
                                             qemu_plugin_tb_n_insns(block));
}

static void finish(qemu_plugin_id_t id, void *data)
{
    const uint64_t now = total();
    FILE *const out = fopen(out_name, "w");

    (void)id;
    (void)data;
    if (out == NULL) {
        perror(out_name);
        return;
    }
    spans[span_count - 1].count += now - counted;
    fprintf(out, "total %" PRIu64 "\n", now);
    for (size_t i = 0; i < span_count; i++) {
        fprintf(out, "stage %s %" PRIu64 "\n", spans[i].name, spans[i].count);
    }
    qsort(functions, function_count, sizeof *functions, by_count);
    for (size_t i = 0; i < function_count && functions[i].count > 0; i++) {
        fprintf(out, "function %s %" PRIu64 "\n", functions[i].name, functions[i].count);
    }
    fprintf(out, "function (elsewhere) %" PRIu64 "\n", elsewhere);
    fclose(out);
}

static bool read_map(const char *name)
{
    FILE *const map = fopen(name, "r");
    char line[512];

    if (map == NULL) {
        perror(name);
        return false;
    }
    while (function_count < MAX_FUNCTIONS && fgets(line, sizeof line, map) != NULL) {
        function *const next = &functions[function_count];
        char type;
        const int fields = sscanf(line, "%" SCNx64 " %" SCNx64 " %c %95s", &next->address,
                                  &next->bytes, &type, next->name);
        if (fields == 4 && strchr("tTwWi", type) != NULL && next->bytes > 0) {
            function_count++;
        }
    }
    fclose(map);
    qsort(functions, function_count, sizeof *functions, by_address);
    return true;
}

static bool add_stage(char *text)
{
    char *const at = strchr(text, '@');

    if (at == NULL || stage_count == MAX_STAGES) {
        fprintf(stderr, "ee_count: stage=%s: expected NAME@FUNCTION\n", text);
        return false;
    }
    *at = '\0';
    stages[stage_count].name = text;
    stages[stage_count++].function = at + 1;
    return true;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    const char *map_name = NULL;

    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "map=", 4) == 0) {
            map_name = argv[i] + 4;
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out_name = strdup(argv[i] + 4);
        } else if (strncmp(argv[i], "stage=", 6) == 0) {
            if (!add_stage(strdup(argv[i] + 6))) {
                return -1;
            }
        }
    }
    if (map_name == NULL || out_name == NULL) {
        fprintf(stderr, "ee_count: map=FILE and out=FILE are needed\n");
        return -1;
    }
    if (!read_map(map_name)) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
