#include "ee_image.h"

#include "../common/ee_size.h"
#include "ee_crc32.h"
#include "ee_graph.h"

enum { MAGIC = 0x4D494545 }; /* the bytes "EEIM" */

/* Where a table lies: bytes from the start of the image. */
typedef struct {
    uint32_t offset, bytes;
} span;

/* The first EE_IMAGE_HEADER_BYTES of an image, little-endian, zeros after the last field. */
typedef struct {
    uint32_t magic, abi, header_crc32, header_bytes, model_crc32;
    uint32_t dtype, exits, dim, heads, ff, kernel, vocab, mels, stem_kernel, stem_stride;
    uint32_t max_frames, blank, sample_rate, n_fft, win_length, hop_length, pad;
    float log_floor, norm_eps;
    span tensors, window, sines, mel_first, mel_count, mel_weights, mean, scale;
    span label_ends, label_text;
    uint32_t base_bytes, base_crc32; /* everything before exit 1 */
    uint32_t layers_per_exit[EE_MAX_EXITS];
    uint32_t exit_bytes[EE_MAX_EXITS]; /* of the image up to the end of each exit */
    uint32_t exit_crc32[EE_MAX_EXITS]; /* of what each exit adds */
} image_header;

typedef char header_fits[sizeof(image_header) <= EE_IMAGE_HEADER_BYTES ? 1 : -1];
typedef char header_is_packed[
    sizeof(image_header) == (24 + 20 + 2 + 3 * EE_MAX_EXITS) * sizeof(uint32_t) ? 1 : -1];

/* The checksum of the header, its own four bytes taken as zero. */
static uint32_t header_crc(const image_header *header)
{
    const unsigned char *const bytes = (const unsigned char *)header;
    const unsigned char zeros[sizeof(uint32_t)] = {0};
    const size_t own = offsetof(image_header, header_crc32);
    uint32_t crc = ee_crc32_update_c(~(uint32_t)0, bytes, own);

    crc = ee_crc32_update_c(crc, zeros, sizeof(zeros));
    crc = ee_crc32_update_c(crc, bytes + own + sizeof(zeros),
                            EE_IMAGE_HEADER_BYTES - own - sizeof(zeros));
    return ~crc;
}

/* Header and sizes; *exits becomes the number to open. */
static ee_status check_header(const image_header *header, size_t bytes, uint32_t *exits)
{
    if (header == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(header, EE_IMAGE_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    if (bytes < EE_IMAGE_HEADER_BYTES) {
        return EE_ERR_IMAGE_TRUNCATED;
    }
    if (header->magic != MAGIC) {
        return EE_ERR_IMAGE_MAGIC;
    }
    if (header->abi != EE_IMAGE_ABI) {
        return EE_ERR_IMAGE_ABI;
    }
    if (header_crc(header) != header->header_crc32) {
        return EE_ERR_IMAGE_CHECKSUM;
    }
    if (header->header_bytes != EE_IMAGE_HEADER_BYTES
        || header->exits < 1 || header->exits > EE_MAX_EXITS) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    uint32_t end = EE_IMAGE_HEADER_BYTES;
    uint32_t held = 0;
    int exact = 0;
    for (uint32_t e = 0; e <= header->exits; e++) {
        const uint32_t next = e == 0 ? header->base_bytes : header->exit_bytes[e - 1];
        if (next <= end || next % EE_IMAGE_ALIGNMENT != 0) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        end = next;
        if (end <= bytes) {
            held = e;
            exact = end == bytes;
        }
    }
    if (held < 1 || (*exits == 0 && !exact)) {
        return EE_ERR_IMAGE_TRUNCATED;
    }
    if (*exits > held) {
        return exact || *exits > header->exits ? EE_ERR_IMAGE_EXITS : EE_ERR_IMAGE_TRUNCATED;
    }
    *exits = *exits == 0 ? held : *exits;
    return EE_OK;
}

/* The parts of the image that hold the exits opened: before exit 1, exit 1, exit 2, ... */
static ee_status check_parts(const image_header *header, uint32_t exits)
{
    const unsigned char *const image = (const unsigned char *)header;
    uint32_t start = EE_IMAGE_HEADER_BYTES;

    for (uint32_t e = 0; e <= exits; e++) {
        const uint32_t end = e == 0 ? header->base_bytes : header->exit_bytes[e - 1];
        const uint32_t crc = e == 0 ? header->base_crc32 : header->exit_crc32[e - 1];
        if (ee_crc32(image + start, end - start) != crc) {
            return EE_ERR_IMAGE_CHECKSUM;
        }
        start = end;
    }
    return EE_OK;
}

static void read_config(ee_config *config, const image_header *header, uint32_t exits)
{
    config->architecture = EE_ARCH_CONFORMER;
    config->exits = exits;
    config->dim = header->dim;
    config->heads = header->heads;
    config->ff = header->ff;
    config->kernel = header->kernel;
    config->vocab = header->vocab;
    config->mels = header->mels;
    config->stem_kernel = header->stem_kernel;
    config->stem_stride = header->stem_stride;
    config->max_frames = header->max_frames;
    config->chunk = 0;
    config->left = 0;
    config->conv = EE_CONV_CENTRED;
    config->positions = EE_POSITIONS_TABLE;
    config->norm_eps = header->norm_eps;
    config->dtype = header->dtype;
    for (uint32_t e = 0; e < EE_MAX_EXITS; e++) {
        config->layers_per_exit[e] = e < exits ? header->layers_per_exit[e] : 0;
    }
}

/* The table in a span, or NULL unless it has this size and lies aligned before exit 1. */
static const void *table(const image_header *header, span where, size_t bytes)
{
    if (where.bytes != bytes || where.offset % EE_IMAGE_ALIGNMENT != 0
        || where.offset < EE_IMAGE_HEADER_BYTES || where.offset > header->base_bytes
        || where.bytes > header->base_bytes - where.offset) {
        return NULL;
    }
    return (const unsigned char *)header + where.offset;
}

/* How many tensors the exits opened have; EE_ERR_IMAGE_LAYOUT unless they lie one after another,
 * aligned, within those exits. */
static ee_status count_tensors(const image_header *header, uint32_t exits, size_t *count)
{
    const span *const tensors = table(header, header->tensors, header->tensors.bytes);
    const uint32_t last = header->exit_bytes[exits - 1];
    uint32_t end = header->tensors.offset;

    *count = 0;
    if (tensors == NULL || header->tensors.bytes % sizeof(span) != 0) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    for (size_t i = 0; i < header->tensors.bytes / sizeof(span) && tensors[i].offset < last; i++) {
        if (tensors[i].offset % EE_IMAGE_ALIGNMENT != 0 || tensors[i].offset < end
            || tensors[i].bytes > last - tensors[i].offset) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        end = tensors[i].offset + tensors[i].bytes;
        *count = i + 1;
    }
    return EE_OK;
}

static ee_status open_frontend(ee_frontend *frontend, const image_header *header)
{
    const size_t mels = header->mels;
    size_t weights = 0;

    frontend->mels = header->mels;
    frontend->n_fft = header->n_fft;
    frontend->win_length = header->win_length;
    frontend->hop_length = header->hop_length;
    frontend->pad = header->pad;
    frontend->log_floor = header->log_floor;
    frontend->window = table(header, header->window,
                             ee_size_mul(header->win_length, sizeof(float)));
    frontend->sines = table(header, header->sines,
                            ee_size_mul(header->n_fft, sizeof(float)));
    frontend->mel_first = table(header, header->mel_first, mels * sizeof(uint16_t));
    frontend->mel_count = table(header, header->mel_count, mels * sizeof(uint16_t));
    frontend->mel_weights = table(header, header->mel_weights, header->mel_weights.bytes);
    frontend->mean = NULL;
    frontend->scale = NULL;

    const ee_status status = ee_frontend_check(frontend);
    if (status != EE_OK) {
        return status == EE_ERR_ARGUMENT ? EE_ERR_IMAGE_LAYOUT : status;
    }
    for (size_t m = 0; m < mels; m++) {
        weights += frontend->mel_count[m];
    }
    if (header->mel_weights.bytes != ee_size_mul(weights, sizeof(float))) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    if (header->log_floor > 0.0f) {
        frontend->mean = table(header, header->mean, mels * sizeof(float));
        frontend->scale = table(header, header->scale, mels * sizeof(float));
        if (frontend->mean == NULL || frontend->scale == NULL) {
            return EE_ERR_IMAGE_LAYOUT;
        }
    }
    return EE_OK;
}

static ee_status open_labels(ee_labels *labels, const image_header *header)
{
    uint32_t end = 0;

    labels->vocab = header->vocab;
    labels->ends = table(header, header->label_ends, header->vocab * sizeof(uint32_t));
    labels->text = table(header, header->label_text, header->label_text.bytes);
    if (labels->ends == NULL || labels->text == NULL || header->blank >= header->vocab) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    for (uint32_t v = 0; v < labels->vocab; v++) {
        if (labels->ends[v] < end) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        end = labels->ends[v];
    }
    return end == header->label_text.bytes ? EE_OK : EE_ERR_IMAGE_LAYOUT;
}

/* The memory of an open image: the model, rounded up, then the table that ee_model_open reads. */
typedef struct {
    size_t model, tensors, total;
} memory_plan;

static ee_status plan_memory(memory_plan *plan, const image_header *header, const ee_config *config)
{
    ee_status status = ee_model_size(config, &plan->model);

    if (status != EE_OK) {
        return status;
    }
    status = count_tensors(header, config->exits, &plan->tensors);
    plan->model = (plan->model + EE_MEMORY_ALIGNMENT - 1) / EE_MEMORY_ALIGNMENT
                  * EE_MEMORY_ALIGNMENT;
    plan->total = plan->model + plan->tensors * sizeof(ee_tensor);
    return status;
}

ee_status ee_image_memory(const void *image, size_t bytes, uint32_t exits, size_t *size)
{
    const image_header *const header = image;
    ee_config config;
    memory_plan plan;

    if (size == NULL) {
        return EE_ERR_ARGUMENT;
    }
    ee_status status = check_header(header, bytes, &exits);
    if (status != EE_OK) {
        return status;
    }
    read_config(&config, header, exits);
    status = plan_memory(&plan, header, &config);
    if (status == EE_OK) {
        *size = plan.total;
    }
    return status;
}

ee_status ee_image_open(ee_image *opened, const void *image, size_t bytes, uint32_t exits,
                        void *memory, size_t size, const ee_ops *ops)
{
    const image_header *const header = image;
    ee_image result;
    memory_plan plan;

    if (opened == NULL) {
        return EE_ERR_ARGUMENT;
    }
    opened->model = NULL;
    if (memory == NULL || ops == NULL) {
        return EE_ERR_ARGUMENT;
    }
    if (!ee_is_aligned(memory, EE_MEMORY_ALIGNMENT)) {
        return EE_ERR_ALIGNMENT;
    }
    ee_status status = check_header(header, bytes, &exits);
    if (status == EE_OK) {
        status = check_parts(header, exits);
    }
    if (status == EE_OK) {
        read_config(&result.config, header, exits);
        status = plan_memory(&plan, header, &result.config);
    }
    if (status == EE_OK) {
        status = open_frontend(&result.frontend, header);
    }
    if (status == EE_OK) {
        status = open_labels(&result.labels, header);
    }
    if (status != EE_OK) {
        return status;
    }
    if (size < plan.total) {
        return EE_ERR_MODEL_TOO_SMALL;
    }

    const span *const spans = table(header, header->tensors, header->tensors.bytes);
    ee_tensor *const tensors = (ee_tensor *)(void *)((unsigned char *)memory + plan.model);
    for (size_t i = 0; i < plan.tensors; i++) {
        tensors[i].data = (const unsigned char *)header + spans[i].offset;
        tensors[i].bytes = spans[i].bytes;
    }
    status = ee_model_open(memory, plan.model, &result.config, tensors, plan.tensors, ops,
                           &result.model);
    if (status != EE_OK) {
        return status;
    }
    result.sample_rate = header->sample_rate;
    result.blank = header->blank;
    result.model_checksum = header->model_crc32;
    result.bytes = header->exit_bytes[exits - 1];
    *opened = result;
    return EE_OK;
}
