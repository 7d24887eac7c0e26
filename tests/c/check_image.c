/* Flash images: opened in place, run, refused when anything in them is wrong; and the stack that
 * all of it needs. The image is made here, word by word as weights_io/FORMAT.md says. */
#include <pthread.h>

#include "check.h"
#include "ee_exits.h"
#include "ee_image.h"
#include "image_words.h"

enum { ALL_EXITS = 3, SAMPLES = 600, MAX_BYTES = 1 << 18 };

static union {
    unsigned char bytes[MAX_BYTES];
    uint32_t words[MAX_BYTES / 4];
} built;
static size_t end; /* of what is built so far */
static size_t exit_ends[ALL_EXITS];
static const ee_ops *ops;

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static void align_end(void)
{
    end = (end + 63) / 64 * 64;
}

/* So many bytes at the end, which the caller writes. */
static void *add(size_t bytes)
{
    void *const data = built.bytes + end;

    end += bytes;
    align_end();
    return data;
}

static uint32_t *section(uint32_t number)
{
    return built.words + SECTIONS + SECTION_WORDS * (size_t)number;
}

static void begin_section(uint32_t kind)
{
    uint32_t *const begun = section(built.words[SECTION_COUNT]++);

    begun[KIND] = kind;
    begun[OFFSET] = (uint32_t)end;
}

static void end_section(void)
{
    uint32_t *const ended = section(built.words[SECTION_COUNT] - 1);

    ended[BYTES] = (uint32_t)end - ended[OFFSET];
    ended[CRC] = ee_crc32_c(0, built.bytes + ended[OFFSET], ended[BYTES]);
}

/* The number `i` of a tensor's floats: scales are small, and factors of norms about 1. */
static float some_float(const ee_tensor_info *info)
{
    if (info->kind == EE_TENSOR_SCALES) {
        return 0.003f + random_float() * 0.001f;
    }
    return (strstr(info->name, "norm.weight") != NULL ? 1.0f : 0.0f) + random_float() * 0.3f;
}

static void add_tensor(const ee_tensor_info *info)
{
    unsigned char *const data = add(info->bytes);
    const size_t stride = info->bytes / info->rows;

    for (size_t i = 0; info->kind == EE_TENSOR_INT8 && i < info->bytes; i++) {
        data[i] = (unsigned char)(int8_t)(i % stride < info->columns ? random_float() * 127.0f : 0);
    }
    for (size_t i = 0; info->kind != EE_TENSOR_INT8 && i < info->bytes; i += sizeof(float)) {
        const float value = some_float(info);
        memcpy(data + i, &value, sizeof(value));
    }
}

static void sign_header(unsigned char *image)
{
    uint32_t crc = 0;

    memcpy(image + 4 * HEADER_CRC, &crc, sizeof(crc));
    crc = ee_crc32_c(0, image, EE_IMAGE_HEADER_BYTES);
    memcpy(image + 4 * HEADER_CRC, &crc, sizeof(crc));
}

/* Every section that lies within the image. */
static void sign_sections(unsigned char *image)
{
    uint32_t words[SECTION_WORDS], count;

    memcpy(&count, image + 4 * SECTION_COUNT, sizeof(count));
    for (uint32_t i = 0; i < count && i < EE_IMAGE_SECTIONS; i++) {
        unsigned char *const at = image + 4 * (SECTIONS + SECTION_WORDS * (size_t)i);
        memcpy(words, at, sizeof(words));
        if (words[OFFSET] <= end && words[BYTES] <= end - words[OFFSET]) {
            words[CRC] = ee_crc32_c(0, image + words[OFFSET], words[BYTES]);
            memcpy(at, words, sizeof(words));
        }
    }
    sign_header(image);
}

/* Two groups of one layer and one of two; labels "", " ", "A", " B"; mels of two bins in three. */
static void build_image(uint32_t dtype)
{
    const uint32_t sizes[] = {
        0x4D494545, 3, 0, 2048, 0xC0FFEE, EE_ARCH_CONFORMER, dtype, ALL_EXITS, 12, 3, 20, 5, 4, 3,
        3, 2, 20, 0, 0, 0, 0, 0, EE_FRONTEND_LOGMEL, 16000, 16, 12, 10, 4, bits_of(1e-6f),
        bits_of(1e-5f),
    };
    const ee_config config = {
        .architecture = EE_ARCH_CONFORMER, .exits = ALL_EXITS, .layers_per_exit = {1, 1, 2},
        .dim = 12, .heads = 3, .ff = 20, .kernel = 5, .vocab = 4, .mels = 3, .stem_kernel = 3,
        .stem_stride = 2, .max_frames = 20, .norm_eps = 1e-5f, .dtype = dtype,
    };
    const uint32_t ends[4] = {0, 1, 2, 4};
    const double turn = 2.0 * acos(-1.0) / 16.0;
    ee_tensor_info info;

    memset(&built, 0, sizeof(built));
    memcpy(built.words, sizes, sizeof(sizes));
    memcpy(built.words + LAYERS, config.layers_per_exit, sizeof(config.layers_per_exit));
    end = EE_IMAGE_HEADER_BYTES;

    begin_section(EE_SECTION_FRONTEND);
    float *const window = add(12 * sizeof(float));
    float *const sines = add(16 * sizeof(float));
    uint16_t *const first = add(3 * sizeof(uint16_t));
    uint16_t *const count = add(3 * sizeof(uint16_t));
    float *const weights = add(6 * sizeof(float));
    float *const mean = add(3 * sizeof(float));
    float *const scale = add(3 * sizeof(float));
    for (size_t i = 0; i < 12; i++) {
        window[i] = (float)(0.5 - 0.5 * cos(2.0 * acos(-1.0) * (double)i / 12.0));
    }
    for (size_t i = 0; i < 16; i++) {
        sines[i] = (float)sin(turn * (double)i);
    }
    for (size_t m = 0; m < 3; m++) {
        first[m] = (uint16_t)(3 * m);
        count[m] = 2;
        weights[2 * m] = weights[2 * m + 1] = 0.5f;
        mean[m] = -3.0f;
        scale[m] = 0.5f;
    }
    end_section();
    begin_section(EE_SECTION_LABELS);
    memcpy(add(sizeof(ends)), ends, sizeof(ends));
    memcpy(add(4), " A B", 4);
    end_section();
    begin_section(EE_SECTION_STEM);
    for (size_t i = 0; ee_tensor_at(&config, i, &info) == EE_OK; i++) {
        if (info.exit > built.words[SECTION_COUNT] - 3) {
            end_section();
            begin_section(EE_SECTION_EXIT);
        }
        add_tensor(&info);
        exit_ends[info.exit > 0 ? info.exit - 1 : 0] = end;
    }
    end_section();
    sign_header(built.bytes);
}

/* A copy of the first bytes, up to an unreadable page. */
static guarded copy_of(size_t bytes)
{
    guarded copy = guarded_floats(bytes / sizeof(float));

    memcpy(copy.data, built.bytes, bytes);
    return copy;
}

static unsigned char memory[1 << 14] __attribute__((aligned(EE_MEMORY_ALIGNMENT)));
static unsigned char arena[1 << 16] __attribute__((aligned(EE_MEMORY_ALIGNMENT)));
static float features[3 * SAMPLES / 8];
static int16_t samples[SAMPLES];
static float scratch[256];
static ee_token tokens[SAMPLES];
static char text[4 * SAMPLES];

/* Samples to text with an open image; what it makes of its last exit stays in `text`. */
static void run_image(const ee_image *image)
{
    const ee_policy never = {EE_POLICY_ENTROPY, 0, 0.0f};
    const size_t frames = ee_frontend_frames(&image->frontend, SAMPLES);
    ee_session *session = NULL;
    ee_output out;
    size_t bytes = 0, count = 0, length = 0;
    uint32_t exits = 0;
    int stop = 0;
    float score = 0.0f;

    CHECK(frames * image->config.mels <= sizeof(features) / sizeof(float), "%zu frames", frames);
    CHECK(ee_features_s16(features, &image->frontend, samples, SAMPLES, 0, frames, scratch, ops)
          == EE_OK, "features");
    CHECK(ee_arena_size(&image->config, frames, NULL, &bytes) == EE_OK && bytes <= sizeof(arena),
          "%zu", bytes);
    CHECK(ee_session_open(&session, image->model, NULL, arena, bytes, frames) == EE_OK
          && ee_session_feed(session, features, frames, 1) == EE_OK, "session");
    while (session != NULL && ee_session_step(session) == EE_OK) {
        CHECK(ee_session_output(session, &out) == EE_OK && out.exit == ++exits, "exit %u",
              (unsigned)exits);
        CHECK(ee_policy_stop(&never, exits, out.data, out.rows, out.columns, &stop, &score, ops)
                  == EE_OK
              && !stop && score > 0.0f, "score %g", (double)score);
        CHECK(ee_greedy(tokens, out.rows, &count, out.data, out.rows, out.columns, image->blank)
              == EE_OK, "greedy");
        CHECK(ee_text(text, sizeof(text), &length, &image->labels, tokens, count) == EE_OK, "text");
    }
    CHECK(exits == image->config.exits, "%u exits", (unsigned)exits);
}

static void check_opening(void)
{
    ee_image image;
    char whole[sizeof(text)];

    for (uint32_t held = 1; held <= ALL_EXITS; held++) {
        guarded copy = copy_of(exit_ends[held - 1]);
        const size_t bytes = copy.count * sizeof(float);
        for (uint32_t exits = 0; exits <= ALL_EXITS + 1; exits++) {
            const ee_status expected = exits <= held ? EE_OK : EE_ERR_IMAGE_EXITS;
            size_t size = 0;

            CHECK(ee_image_memory(copy.data, bytes, exits, &size) == expected, "%u of %u",
                  (unsigned)exits, (unsigned)held);
            CHECK(expected != EE_OK || size <= sizeof(memory), "%zu bytes", size);
            CHECK(ee_image_open(&image, copy.data, bytes, exits, memory,
                                expected == EE_OK ? size : sizeof(memory), ops) == expected,
                  "%u of %u", (unsigned)exits, (unsigned)held);
            if (expected != EE_OK) {
                CHECK(image.model == NULL, "no model after an error");
                continue;
            }
            CHECK(image.config.exits == (exits == 0 ? held : exits), "exits");
            CHECK(image.bytes == exit_ends[image.config.exits - 1], "bytes");
            CHECK(image.model_checksum == 0xC0FFEE && image.sample_rate == 16000, "numbers");
            run_image(&image);
            if (image.config.exits == 1 && held == 1 && exits == 0) {
                strcpy(whole, text);
            }
            CHECK(image.config.exits != 1 || strcmp(text, whole) == 0, "exit 1 of %u: %s",
                  (unsigned)held, text);
            memory[size - 1] = 0xA5;
            CHECK(ee_image_open(&image, copy.data, bytes, exits, memory, size - 1, ops)
                  == EE_ERR_MODEL_TOO_SMALL, "memory one byte too small");
        }
        guarded_free(&copy);
    }
}

/* A byte of each section that is another: noticed by whoever computes checksums of that section. */
static void check_damage(void)
{
    guarded copy = copy_of(end);
    unsigned char *const data = (unsigned char *)copy.data;
    ee_image image;

    for (uint32_t exit = 1; exit <= ALL_EXITS; exit++) {
        unsigned char *const last = data + exit_ends[exit - 1] - 64;

        *last ^= 1;
        for (uint32_t exits = 1; exits <= ALL_EXITS; exits++) {
            const ee_status expected = exits < exit ? EE_OK : EE_ERR_IMAGE_CHECKSUM;

            CHECK(ee_image_check(data, end, exits, ops) == expected, "exit %u of %u",
                  (unsigned)exit, (unsigned)exits);
            CHECK(ee_image_open(&image, data, end, exits, memory, sizeof(memory), ops) == expected,
                  "exit %u of %u", (unsigned)exit, (unsigned)exits);
            CHECK(ee_image_open_installed(&image, data, end, exits, memory, sizeof(memory), ops)
                  == EE_OK && image.config.exits == exits, "exit %u of %u", (unsigned)exit,
                  (unsigned)exits);
        }
        *last ^= 1;
    }
    CHECK(ee_image_check(data, end, 0, ops) == EE_OK, "all");
    guarded_free(&copy);
}

static uint32_t crc32_of_a_port(uint32_t crc, const void *data, size_t bytes)
{
    return ~ee_crc32_c(crc, data, bytes);
}

static void check_arguments(void)
{
    const ee_ops port = {ops->f32, ops->qs8, ops->exit_row, crc32_of_a_port,
                         ops->mel_block, ops->mel_frames};
    guarded copy = copy_of(end);
    unsigned char *const data = (unsigned char *)copy.data;
    ee_image image;
    size_t size;

    memset(memory, 0xA5, sizeof(memory));
#define EXPECT(status, ...) CHECK(ee_image_open(__VA_ARGS__) == status, #__VA_ARGS__)
    EXPECT(EE_ERR_ARGUMENT, NULL, data, end, 0, memory, sizeof(memory), ops);
    EXPECT(EE_ERR_ARGUMENT, &image, NULL, end, 0, memory, sizeof(memory), ops);
    EXPECT(EE_ERR_ARGUMENT, &image, data, end, 0, NULL, sizeof(memory), ops);
    EXPECT(EE_ERR_ARGUMENT, &image, data, end, 0, memory, sizeof(memory), NULL);
    EXPECT(EE_ERR_ALIGNMENT, &image, data, end, 0, memory + 32, sizeof(memory) - 32, ops);
    EXPECT(EE_ERR_ALIGNMENT, &image, data + 32, end - 32, 0, memory, sizeof(memory), ops);
    EXPECT(EE_ERR_ALIGNMENT, &image, data + 1, end - 1, 0, memory, sizeof(memory), ops);
    EXPECT(EE_ERR_IMAGE_EXITS, &image, data, end, UINT32_MAX, memory, sizeof(memory), ops);
    EXPECT(EE_ERR_MODEL_TOO_SMALL, &image, data, end, 0, memory, 0, ops);
    EXPECT(EE_ERR_IMAGE_CHECKSUM, &image, data, end, 0, memory, sizeof(memory), &port);
#undef EXPECT
    CHECK(image.model == NULL, "no model after an error");
    CHECK(ee_image_check(data, end, 0, NULL) == EE_ERR_ARGUMENT, "no ops");
    CHECK(ee_image_check(NULL, end, 0, ops) == EE_ERR_ARGUMENT, "no image");
    CHECK(ee_image_check(data, end, UINT32_MAX, ops) == EE_ERR_IMAGE_EXITS, "exits");
    CHECK(ee_image_check(data, end, 0, &port) == EE_ERR_IMAGE_CHECKSUM, "checksums of a port");
    CHECK(ee_image_memory(data, end, 0, NULL) == EE_ERR_ARGUMENT, "no size");
    CHECK(ee_image_memory(NULL, end, 0, &size) == EE_ERR_ARGUMENT, "no image");
    for (size_t i = 0; i < sizeof(memory); i++) {
        if (memory[i] != 0xA5) {
            CHECK(0, "an error wrote byte %zu of the memory", i);
            break;
        }
    }
    guarded_free(&copy);
}

/* Every length but those of whole exits; with the exits named, every length that lacks them. */
static void check_lengths(void)
{
    ee_image image;

    for (size_t bytes = 0; bytes < end; bytes += bytes < 2200 || bytes + 70 > end ? 4 : 64) {
        guarded copy = copy_of(bytes);
        int whole = 0;

        /* The copy begins where its length puts it: align it, or see that this comes first. */
        const int aligned = bytes % 64 == 0;
        for (uint32_t e = 0; e < ALL_EXITS; e++) {
            whole = whole || bytes == exit_ends[e];
        }
        const ee_status status = ee_image_open(&image, copy.data, bytes, 0, memory, sizeof(memory),
                                               ops);
        CHECK(status == (!aligned ? EE_ERR_ALIGNMENT : whole ? EE_OK : EE_ERR_IMAGE_TRUNCATED),
              "%zu bytes: %s", bytes, ee_status_name(status));
        if (aligned && !whole) {
            CHECK(ee_image_open(&image, copy.data, bytes, ALL_EXITS, memory, sizeof(memory), ops)
                  == EE_ERR_IMAGE_TRUNCATED, "%zu bytes", bytes);
        }
        guarded_free(&copy);
    }
}

/* A lie with checksums that agree: an error or an image that can be run, nothing in between. */
static void check_lie(guarded *copy, const char *what, size_t where, uint32_t value)
{
    unsigned char *const data = (unsigned char *)copy->data;
    uint32_t right;
    ee_image image;

    memcpy(&right, data + where, sizeof(right));
    memcpy(data + where, &value, sizeof(value));
    if (where < EE_IMAGE_HEADER_BYTES) {
        sign_header(data);
    } else {
        sign_sections(data);
    }
    image.model = (ee_model *)(void *)memory;
    const ee_status status = ee_image_open(&image, data, end, 0, memory, sizeof(memory), ops);
    CHECK(status == EE_OK || (status < 0 && image.model == NULL), "%s %zu = 0x%lx: %d", what, where,
          (unsigned long)value, (int)status);
    CHECK(strcmp(ee_status_name(status), "EE_ERR_UNKNOWN") != 0, "%d", (int)status);
    if (status == EE_OK && ee_frontend_frames(&image.frontend, SAMPLES) * image.config.mels
                               <= sizeof(features) / sizeof(float)) {
        const size_t frames = ee_frontend_frames(&image.frontend, SAMPLES);
        size_t bytes = 0;
        if (ee_arena_size(&image.config, frames, NULL, &bytes) == EE_OK && bytes <= sizeof(arena)
            && ee_frontend_scratch(&image.frontend, ops) <= sizeof(scratch) / sizeof(float)) {
            ee_session *session = NULL;
            ee_features_s16(features, &image.frontend, samples, SAMPLES, 0, frames, scratch, ops);
            if (ee_session_open(&session, image.model, NULL, arena, bytes, frames) == EE_OK
                && ee_session_feed(session, features, frames, 1) == EE_OK) {
                ee_session_step(session);
            }
        }
    }
    memcpy(data + where, &right, sizeof(right));
    memcpy(data, built.bytes, EE_IMAGE_HEADER_BYTES);
}

static void check_lies(void)
{
    guarded copy = copy_of(end);

    for (uint32_t word = 0; word < EE_IMAGE_HEADER_BYTES / 4; word++) {
        const uint32_t right = built.words[word];
        const uint32_t wrong[] = {0, 1, right + 1, right - 1, right + 64, right - 64, 2 * right,
                                  0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            check_lie(&copy, "word", 4 * (size_t)word, wrong[i]);
        }
    }
    /* Front end and labels. */
    const size_t tables_end = section(1)[OFFSET] + (size_t)section(1)[BYTES];
    for (size_t at = EE_IMAGE_HEADER_BYTES; at < tables_end; at += 4) {
        check_lie(&copy, "table", at, 0xFFFFFFFF);
        check_lie(&copy, "table", at, 0x00010001);
    }
    CHECK(memcmp(copy.data, built.bytes, end) == 0, "put back");
    guarded_free(&copy);
}

/* The statuses of the damages that have a name of their own. */
static void check_names(void)
{
    const struct {
        size_t where;
        unsigned char flip;
        int sign;
        ee_status status;
    } damages[] = {
        {0, 1, 0, EE_ERR_IMAGE_MAGIC}, {4 * ABI, 2, 1, EE_ERR_IMAGE_ABI},
        {4 * HEADER_CRC, 1, 0, EE_ERR_IMAGE_CHECKSUM}, {4 * DIM, 1, 0, EE_ERR_IMAGE_CHECKSUM},
        {EE_IMAGE_HEADER_BYTES - 1, 1, 0, EE_ERR_IMAGE_CHECKSUM},
        {EE_IMAGE_HEADER_BYTES, 1, 0, EE_ERR_IMAGE_CHECKSUM},
        {end - 1, 0x80, 0, EE_ERR_IMAGE_CHECKSUM}, {exit_ends[0], 1, 0, EE_ERR_IMAGE_CHECKSUM},
        {4 * EXITS, 0x80, 1, EE_ERR_IMAGE_LAYOUT}, {4 * DTYPE, 0x40, 1, EE_ERR_CONFIG},
        {4 * ARCHITECTURE, 0x40, 1, EE_ERR_CONFIG}, {4 * FRONTEND, 1, 1, EE_ERR_CONFIG},
        {4 * DIM, 0x40, 1, EE_ERR_CONFIG}, {4 * FF, 0x40, 1, EE_ERR_IMAGE_LAYOUT},
        {4 * BLANK, 0x40, 1, EE_ERR_IMAGE_LAYOUT}, {4 * N_FFT, 1, 1, EE_ERR_CONFIG},
        {4 * LAYERS, 3, 1, EE_ERR_IMAGE_LAYOUT}, {4 * SECTION_COUNT, 1, 1, EE_ERR_IMAGE_LAYOUT},
        {4 * (SECTIONS + OFFSET), 4, 1, EE_ERR_IMAGE_LAYOUT},
        {4 * (SECTIONS + KIND), 8, 1, EE_ERR_IMAGE_LAYOUT},
        {4 * SAMPLE_RATE + 2, 0x10, 1, EE_ERR_CONFIG}, /* above a million */
        {4 * (LAYERS + EE_MAX_EXITS - 1), 1, 1, EE_ERR_IMAGE_LAYOUT},
        {EE_IMAGE_HEADER_BYTES - 1, 1, 1, EE_ERR_IMAGE_LAYOUT},
    };
    guarded copy = copy_of(end);
    unsigned char *const data = (unsigned char *)copy.data;
    ee_image image;

    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        data[damages[i].where] ^= damages[i].flip;
        if (damages[i].sign) {
            sign_header(data);
        }
        const ee_status status = ee_image_open(&image, data, end, 0, memory, sizeof(memory), ops);
        CHECK(status == damages[i].status, "byte %zu: %s", damages[i].where,
              ee_status_name(status));
        memcpy(data, built.bytes, end);
    }
    guarded_free(&copy);
}

/* ---- Stack ---- */

static unsigned char stack[1 << 18] __attribute__((aligned(4096)));

static void *run_all(void *image)
{
    ee_image opened;
    size_t size = 0;

    if (image != NULL && ee_image_memory(image, end, 0, &size) == EE_OK
        && ee_image_open(&opened, image, end, 0, memory, size, ops) == EE_OK) {
        run_image(&opened);
    }
    return NULL;
}

/* Bytes of its stack that a thread used. */
static size_t stack_of(void *image)
{
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;

    memset(stack, 0xA5, sizeof(stack));
    CHECK(pthread_attr_init(&attributes) == 0
          && pthread_attr_setstack(&attributes, stack, sizeof(stack)) == 0
          && pthread_create(&thread, &attributes, run_all, image) == 0
          && pthread_join(thread, NULL) == 0, "thread");
    pthread_attr_destroy(&attributes);
    while (untouched < sizeof(stack) && stack[untouched] == 0xA5) {
        untouched++;
    }
    return sizeof(stack) - untouched;
}

static void check_stack(const char *dtype)
{
    guarded copy = copy_of(end);
    /* Once before: the first calls of functions of other libraries are resolved on the stack. */
    stack_of(copy.data);
    const size_t used = stack_of(copy.data) - stack_of(NULL);

    printf("check_image: %s: %zu bytes of stack, portable kernels\n", dtype, used);
#if !defined(__SANITIZE_ADDRESS__) && defined(__OPTIMIZE__)
    CHECK(used <= EE_STACK_BYTES, "%zu bytes of stack, planned %d", used, (int)EE_STACK_BYTES);
#endif
    guarded_free(&copy);
}

int main(void)
{
    const char *const names[] = {"f32", "qs8"};

    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = (int16_t)(random_float() * 32767.0f);
    }
    ops = ee_ops_for(EE_ISA_C);
    for (uint32_t dtype = EE_DTYPE_F32; dtype <= EE_DTYPE_QS8; dtype++) {
        build_image(dtype);
        check_opening();
        check_arguments();
        check_damage();
        check_lengths();
        check_lies();
        check_names();
        check_stack(names[dtype]);
    }
    return check_result("check_image");
}
