#include "ee_image.h"

#include <string.h>

#include "../common/ee_size.h"
#include "ee_graph.h"

enum {
    MAGIC = 0x4D494545, /* the bytes "EEIM" */
    MIN_RATE = 1000,
    MAX_RATE = 1000000
};

typedef struct {
    uint32_t kind, offset, bytes, crc32;
} image_section;

/* The first EE_IMAGE_HEADER_BYTES of an image, little-endian, zeros after the last section. */
typedef struct {
    uint32_t magic, abi, header_crc32, header_bytes, model_crc32;
    uint32_t architecture, dtype, exits, dim, heads, ff, kernel, vocab, mels;
    uint32_t stem_kernel, stem_stride, max_frames, chunk, left, conv, positions, blank;
    uint32_t frontend, sample_rate, n_fft, win_length, hop_length, pad;
    float log_floor, norm_eps;
    uint32_t section_count;
    uint32_t layers_per_exit[EE_MAX_EXITS];
    image_section sections[EE_IMAGE_SECTIONS];
} image_header;

typedef char header_fits[sizeof(image_header) <= EE_IMAGE_HEADER_BYTES ? 1 : -1];
typedef char header_is_packed[
    sizeof(image_header) == (31 + EE_MAX_EXITS + 4 * EE_IMAGE_SECTIONS) * sizeof(uint32_t) ? 1
                                                                                          : -1];

/* The checksum of the header, its own four bytes taken as zero. */
static uint32_t header_crc(const image_header *header)
{
    const unsigned char *const bytes = (const unsigned char *)header;
    const unsigned char zeros[sizeof(uint32_t)] = {0};
    const size_t own = offsetof(image_header, header_crc32);
    const uint32_t crc = ee_crc32_c(ee_crc32_c(0, bytes, own), zeros, sizeof(zeros));

    return ee_crc32_c(crc, bytes + own + sizeof(zeros),
                      EE_IMAGE_HEADER_BYTES - own - sizeof(zeros));
}

/* Sections one after another, those of exits last, one for each exit. */
static int has_its_sections(const image_header *header)
{
    uint32_t end = EE_IMAGE_HEADER_BYTES;
    uint32_t exits = 0;

    if (header->section_count > EE_IMAGE_SECTIONS) {
        return 0;
    }
    for (uint32_t i = 0; i < header->section_count; i++) {
        const image_section *const section = &header->sections[i];
        if (section->offset != end || section->bytes == 0
            || section->bytes % EE_IMAGE_ALIGNMENT != 0 || section->bytes > UINT32_MAX - end
            || (exits > 0 && section->kind != EE_SECTION_EXIT)) {
            return 0;
        }
        exits += section->kind == EE_SECTION_EXIT;
        end += section->bytes;
    }
    return exits == header->exits && exits >= 1 && exits <= EE_MAX_EXITS;
}

/* Zeros where there are no more exits, and no more sections. */
static int is_filled_up(const image_header *header)
{
    const unsigned char *const bytes = (const unsigned char *)header;
    unsigned any = 0;

    for (uint32_t e = header->exits; e < EE_MAX_EXITS; e++) {
        any |= header->layers_per_exit[e] != 0;
    }
    for (size_t i = offsetof(image_header, sections)
                    + header->section_count * sizeof(image_section);
         i < EE_IMAGE_HEADER_BYTES; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* The section of an exit, from 1; 0: the one before those of exits. */
static const image_section *exit_section(const image_header *header, uint32_t exit)
{
    return &header->sections[header->section_count - header->exits + exit - 1];
}

static size_t end_of(const image_section *section)
{
    return (size_t)section->offset + section->bytes;
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
    if (header->header_bytes != EE_IMAGE_HEADER_BYTES || !has_its_sections(header)
        || !is_filled_up(header)) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    if (header->sample_rate < MIN_RATE || header->sample_rate > MAX_RATE) {
        return EE_ERR_CONFIG;
    }
    uint32_t held = 0;
    while (held < header->exits && end_of(exit_section(header, held + 1)) <= bytes) {
        held++;
    }
    const int exact = held > 0 && end_of(exit_section(header, held)) == bytes;
    if (held < 1 || (*exits == 0 && !exact)) {
        return EE_ERR_IMAGE_TRUNCATED;
    }
    if (*exits > held) {
        return exact || *exits > header->exits ? EE_ERR_IMAGE_EXITS : EE_ERR_IMAGE_TRUNCATED;
    }
    *exits = *exits == 0 ? held : *exits;
    return EE_OK;
}

static const unsigned char *start_of(const image_header *header, const image_section *section)
{
    return (const unsigned char *)header + section->offset;
}

/* Every section up to that of the last exit opened, also of kinds that are skipped. */
static ee_status check_sections(const image_header *header, uint32_t exits, ee_crc32 *crc32)
{
    const image_section *const last = exit_section(header, exits);

    for (const image_section *section = header->sections; section <= last; section++) {
        if (crc32(0, start_of(header, section), section->bytes) != section->crc32) {
            return EE_ERR_IMAGE_CHECKSUM;
        }
    }
    return EE_OK;
}

/* The one section of a kind, or NULL. */
static const image_section *section_of(const image_header *header, uint32_t kind)
{
    const image_section *found = NULL;

    for (uint32_t i = 0; i < header->section_count; i++) {
        if (header->sections[i].kind == kind) {
            if (found != NULL) {
                return NULL;
            }
            found = &header->sections[i];
        }
    }
    return found;
}

/* ---- What lies in a section: one after another, each at a multiple of EE_IMAGE_ALIGNMENT ---- */

typedef struct {
    const unsigned char *next;
    size_t left;
} section_reader;

/* A section that there is not holds nothing. */
static section_reader reader_of(const image_header *header, const image_section *section)
{
    section_reader reader = {NULL, 0};

    if (section != NULL) {
        reader.next = start_of(header, section);
        reader.left = section->bytes;
    }
    return reader;
}

/* The next `bytes` bytes, or NULL when there are not so many. */
static const void *take(section_reader *reader, size_t bytes)
{
    const size_t whole = ee_whole_lines(bytes);
    const void *const taken = reader->next;

    if (taken == NULL || whole > reader->left) {
        reader->left = 0;
        return NULL;
    }
    reader->next += whole;
    reader->left -= whole;
    return taken;
}

static const void *take_floats(section_reader *reader, size_t count)
{
    return take(reader, ee_size_mul(count, sizeof(float)));
}

/* What only some architectures have is 0 without a graph that asks for it. */
static ee_status read_config(ee_config *config, const image_header *header, uint32_t exits)
{
    const ee_graph *const graph = ee_graph_for(header->architecture);
    section_reader reader = reader_of(header, section_of(header, EE_SECTION_FAMILY));

    memset(config, 0, sizeof(*config));
    if (graph != NULL && graph->own_bytes > 0) {
        const void *const own = take(&reader, graph->own_bytes);
        if (own == NULL || reader.left > 0) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        memcpy((char *)config + graph->own_offset, own, graph->own_bytes);
    }
    config->architecture = header->architecture;
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
    config->chunk = header->chunk;
    config->left = header->left;
    config->conv = header->conv;
    config->positions = header->positions;
    config->norm_eps = header->norm_eps;
    config->dtype = header->dtype;
    for (uint32_t e = 0; e < exits; e++) {
        config->layers_per_exit[e] = header->layers_per_exit[e];
    }
    return EE_OK;
}

static ee_status open_frontend(ee_frontend *frontend, const image_header *header)
{
    section_reader reader = reader_of(header, section_of(header, EE_SECTION_FRONTEND));
    const size_t mels = header->mels;
    size_t weights = 0;
    const int takes_samples = header->frontend == EE_FRONTEND_WAVEFORM
                              || header->frontend == EE_FRONTEND_SAMPLES;
    const int has_floor = header->frontend != EE_FRONTEND_MEL && !takes_samples;

    memset(frontend, 0, sizeof(*frontend));
    frontend->kind = header->frontend;
    frontend->mels = header->mels;
    frontend->n_fft = header->n_fft;
    frontend->win_length = header->win_length;
    frontend->hop_length = header->hop_length;
    frontend->pad = header->pad;
    frontend->log_floor = header->log_floor;
    if (!takes_samples) {
        frontend->window = take_floats(&reader, header->win_length);
        frontend->sines = take_floats(&reader, header->n_fft);
        frontend->mel_first = take(&reader, mels * sizeof(uint16_t));
        frontend->mel_count = take(&reader, mels * sizeof(uint16_t));
        for (size_t m = 0; frontend->mel_count != NULL && m < mels; m++) {
            weights += frontend->mel_count[m];
        }
        frontend->mel_weights = take_floats(&reader, weights);
    }
    frontend->mean = has_floor ? take_floats(&reader, mels) : NULL;
    frontend->scale = has_floor ? take_floats(&reader, mels) : NULL;

    const ee_status status = ee_frontend_check(frontend);
    if (status != EE_OK && status != EE_ERR_ARGUMENT) {
        return status;
    }
    return status == EE_OK && reader.left == 0
                   && (!has_floor || (frontend->mean != NULL && frontend->scale != NULL))
               ? EE_OK
               : EE_ERR_IMAGE_LAYOUT;
}

static ee_status open_labels(ee_labels *labels, const image_header *header)
{
    section_reader reader = reader_of(header, section_of(header, EE_SECTION_LABELS));
    uint32_t end = 0;

    labels->vocab = header->vocab;
    labels->ends = take(&reader, header->vocab * sizeof(uint32_t));
    if (labels->ends == NULL || header->blank >= header->vocab) {
        return EE_ERR_IMAGE_LAYOUT;
    }
    for (uint32_t v = 0; v < labels->vocab; v++) {
        if (labels->ends[v] < end) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        end = labels->ends[v];
    }
    labels->text = take(&reader, end);
    return labels->text != NULL && reader.left == 0 ? EE_OK : EE_ERR_IMAGE_LAYOUT;
}

/* Without a section of phrases, phrases->graph.states is 0. */
static ee_status open_phrases(ee_phrases *phrases, const image_header *header)
{
    phrases->graph.states = 0;
    for (uint32_t i = 0; i < header->section_count; i++) {
        const image_section *const section = &header->sections[i];
        if (section->kind != EE_SECTION_PHRASES) {
            continue;
        }
        if (phrases->graph.states > 0) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        const ee_status status
            = ee_phrases_open(phrases, start_of(header, section), section->bytes);
        if (status != EE_OK) {
            return status;
        }
        if (phrases->graph.vocab != header->vocab || phrases->graph.blank != header->blank) {
            return EE_ERR_IMAGE_LAYOUT;
        }
    }
    return EE_OK;
}

/* The tensors of a model, which follow from its configuration, into `tensors` unless it is NULL.
 * EE_ERR_IMAGE_LAYOUT unless they fill the sections of the stem and of the exits opened. */
static ee_status take_tensors(const void **tensors, const image_header *header,
                              const ee_config *config)
{
    section_reader reader = reader_of(header, section_of(header, EE_SECTION_STEM));
    ee_tensor_info info;
    uint32_t exit = 0;

    for (size_t i = 0; ee_tensor_at(config, i, &info) == EE_OK; i++) {
        if (info.exit != exit) {
            if (reader.left > 0) {
                return EE_ERR_IMAGE_LAYOUT;
            }
            exit = info.exit;
            reader = reader_of(header, exit_section(header, exit));
        }
        const void *const data = take(&reader, info.bytes);
        if (data == NULL) {
            return EE_ERR_IMAGE_LAYOUT;
        }
        if (tensors != NULL) {
            tensors[i] = data;
        }
    }
    return reader.left == 0 ? EE_OK : EE_ERR_IMAGE_LAYOUT;
}

ee_status ee_image_memory(const void *image, size_t bytes, uint32_t exits, size_t *size)
{
    const image_header *const header = image;
    ee_config config;

    if (size == NULL) {
        return EE_ERR_ARGUMENT;
    }
    ee_status status = check_header(header, bytes, &exits);
    if (status == EE_OK) {
        status = read_config(&config, header, exits);
    }
    return status == EE_OK ? ee_model_size(&config, size) : status;
}

ee_status ee_image_check(const void *image, size_t bytes, uint32_t exits, const ee_ops *ops)
{
    if (ops == NULL) {
        return EE_ERR_ARGUMENT;
    }
    const ee_status status = check_header(image, bytes, &exits);
    return status == EE_OK ? check_sections(image, exits, ops->crc32) : status;
}

/* is_installed: the sections have their checksums. */
static ee_status open_image(ee_image *opened, const void *image, size_t bytes, uint32_t exits,
                            void *memory, size_t size, const ee_ops *ops, int is_installed)
{
    const image_header *const header = image;
    ee_image result;

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
    if (status == EE_OK && !is_installed) {
        status = check_sections(header, exits, ops->crc32);
    }
    if (status == EE_OK) {
        status = read_config(&result.config, header, exits);
    }
    if (status == EE_OK) {
        status = ee_config_check(&result.config);
    }
    if (status == EE_OK) {
        status = open_frontend(&result.frontend, header);
    }
    if (status == EE_OK) {
        status = open_labels(&result.labels, header);
    }
    if (status == EE_OK) {
        status = open_phrases(&result.phrases, header);
    }
    if (status == EE_OK) {
        status = take_tensors(NULL, header, &result.config);
    }
    if (status == EE_OK) {
        status = ee_model_begin(memory, size, &result.config, ops, &result.model);
    }
    if (status != EE_OK) {
        return status;
    }
    (void)take_tensors(result.model->tensors, header, &result.config);
    result.sample_rate = header->sample_rate;
    result.blank = header->blank;
    result.model_checksum = header->model_crc32;
    result.bytes = end_of(exit_section(header, exits));
    *opened = result;
    return EE_OK;
}

ee_status ee_image_open(ee_image *opened, const void *image, size_t bytes, uint32_t exits,
                        void *memory, size_t size, const ee_ops *ops)
{
    return open_image(opened, image, bytes, exits, memory, size, ops, 0);
}

ee_status ee_image_open_installed(ee_image *opened, const void *image, size_t bytes,
                                  uint32_t exits, void *memory, size_t size, const ee_ops *ops)
{
    return open_image(opened, image, bytes, exits, memory, size, ops, 1);
}
