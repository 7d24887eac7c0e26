/* The runtime: what it refuses, and that its memory plan is exact. */
#include "check_model.h"
#include "check_teams.h"

enum { FRAMES = 50, MELS = 6 };

static void expect_config(const char *field, uint32_t *value, uint32_t wrong)
{
    const uint32_t right = *value;
    size_t bytes;

    *value = wrong;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "%s = %u", field, (unsigned)wrong);
    CHECK(ee_arena_size(&config, FRAMES, NULL, &bytes) == EE_ERR_CONFIG, "%s = %u", field,
          (unsigned)wrong);
    *value = right;
}

static void check_config(void)
{
    size_t bytes;

    expect_config("architecture", &config.architecture, 0);
    expect_config("architecture", &config.architecture, 99);
    expect_config("exits", &config.exits, 0);
    expect_config("exits", &config.exits, EE_MAX_EXITS + 1);
    expect_config("layers", &config.layers_per_exit[1], 0);
    expect_config("layers", &config.layers_per_exit[1], EE_MAX_LAYERS_PER_EXIT + 1);
    expect_config("dim", &config.dim, 0);
    expect_config("dim", &config.dim, EE_MAX_SIZE + 1);
    expect_config("heads", &config.heads, 3);
    expect_config("heads", &config.heads, 0);
    expect_config("ff", &config.ff, UINT32_MAX);
    expect_config("kernel", &config.kernel, 4);
    expect_config("vocab", &config.vocab, 0);
    expect_config("mels", &config.mels, 0);
    expect_config("stem_kernel", &config.stem_kernel, 0);
    expect_config("stem_stride", &config.stem_stride, 4);
    expect_config("max_frames", &config.max_frames, 0);
    expect_config("chunk without a convolution that ends", &config.chunk, 4);
    expect_config("left without a chunk", &config.left, 1);
    expect_config("conv", &config.conv, EE_CONV_CHUNK);
    expect_config("conv", &config.conv, 3);
    expect_config("max_frames without positions", &config.positions, EE_POSITIONS_NONE);
    expect_config("positions", &config.positions, 2);
    expect_config("dtype", &config.dtype, 2);

    config.norm_eps = NAN;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "norm_eps NaN");
    config.norm_eps = 0x1.fffffep-41f;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "norm_eps below 2^-40");
    config.norm_eps = 0x1p-40f;
    CHECK(ee_model_size(&config, &bytes) == EE_OK, "norm_eps 2^-40");
    config.norm_eps = 1e-5f;
    CHECK(ee_model_size(NULL, &bytes) == EE_ERR_ARGUMENT, "no config");
    CHECK(ee_model_size(&config, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_arena_size(&config, FRAMES, NULL, NULL) == EE_ERR_ARGUMENT, "no result");
}

/* What only a Splitformer has, and what it has not. */
static void check_parallel(void)
{
    size_t bytes;

    CHECK(ee_model_size(&config, &bytes) == EE_OK, "a layer at half rate");
    config.parallel[1] = 2;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "two layers at half rate");
    config.parallel[1] = 0;
    config.conv = EE_CONV_CAUSAL;
    CHECK(ee_model_size(&config, &bytes) == EE_OK, "causal with a full view");
    expect_config("chunk at half rate", &config.chunk, 4);
    config.conv = EE_CONV_CENTRED;
}

static void check_model_open(void)
{
    size_t bytes = 0;
    ee_model *model = NULL;

    ee_model_size(&config, &bytes);
    char *const memory = aligned_memory(bytes);

    CHECK(ee_model_open(NULL, bytes, &config, tensors, tensor_count, ops, &model)
          == EE_ERR_ARGUMENT, "no memory");
    CHECK(ee_model_open(memory, bytes, NULL, tensors, tensor_count, ops, &model)
          == EE_ERR_ARGUMENT, "no config");
    CHECK(ee_model_open(memory, bytes, &config, NULL, tensor_count, ops, &model)
          == EE_ERR_ARGUMENT, "no tensors");
    CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, NULL, &model)
          == EE_ERR_ARGUMENT, "no ops");
    CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, ops, NULL)
          == EE_ERR_ARGUMENT, "no result");
    const ee_ops none = {0};
    CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, &none, &model)
          == EE_ERR_DTYPE, "ops without the arithmetic of the model");
    CHECK(ee_model_open(memory, bytes - 1, &config, tensors, tensor_count, ops, &model)
          == EE_ERR_MODEL_TOO_SMALL, "one byte too small");
    CHECK(ee_model_open(memory + 16, bytes, &config, tensors, tensor_count, ops, &model)
          == EE_ERR_ALIGNMENT, "misaligned memory");
    CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count - 1, ops, &model)
          == EE_ERR_TENSOR_COUNT, "a tensor missing");
    CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count + 1, ops, &model)
          == EE_ERR_TENSOR_COUNT, "a tensor too many");

    for (size_t i = 0; i < tensor_count; i++) {
        const ee_tensor right = tensors[i];

        tensors[i].bytes = right.bytes - 16;
        CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, ops, &model)
              == EE_ERR_TENSOR_SIZE, "tensor %zu too small", i);
        tensors[i].bytes = right.bytes + 16;
        CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, ops, &model)
              == EE_ERR_TENSOR_SIZE, "tensor %zu too large", i);
        tensors[i].bytes = right.bytes;
        tensors[i].data = NULL;
        CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, ops, &model)
              == EE_ERR_TENSOR_SIZE, "tensor %zu without data", i);
        tensors[i].data = (const char *)right.data + 4;
        CHECK(ee_model_open(memory, bytes, &config, tensors, tensor_count, ops, &model)
              == EE_ERR_ALIGNMENT, "tensor %zu misaligned", i);
        CHECK(model == NULL, "no model after an error");
        tensors[i] = right;
    }
    free(memory);
}

/* Opens a session of this capacity in memory of its own. */
static ee_session *open_session(const ee_model *model, const ee_team *team, size_t capacity)
{
    size_t bytes = 0;
    ee_session *session = NULL;

    CHECK(ee_arena_size(&config, capacity, team, &bytes) == EE_OK, "%zu frames", capacity);
    CHECK(ee_session_open(&session, model, team, aligned_memory(bytes), bytes, capacity) == EE_OK,
          "%zu frames", capacity);
    if (session == NULL) {
        exit(check_result("check_runtime"));
    }
    return session;
}

/* One step; false after the last exit of the block. */
static int step(ee_session *session, ee_output *out)
{
    return ee_session_step(session) == EE_OK && ee_session_output(session, out) == EE_OK;
}

static void check_session_open(const ee_model *model)
{
    size_t bytes = 0;
    ee_session *session = NULL;

    CHECK(ee_arena_size(&config, FRAMES, NULL, &bytes) == EE_OK, "arena");
    unsigned char *const arena = aligned_memory(bytes);
    memset(arena, 0xA5, bytes);

    CHECK(ee_session_open(NULL, model, NULL, arena, bytes, FRAMES) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_session_open(&session, NULL, NULL, arena, bytes, FRAMES)
          == EE_ERR_ARGUMENT, "no model");
    CHECK(ee_session_open(&session, model, NULL, NULL, bytes, FRAMES)
          == EE_ERR_ARGUMENT, "no arena");
    CHECK(ee_session_open(&session, model, NULL, arena + 32, bytes, FRAMES)
          == EE_ERR_ALIGNMENT, "misaligned arena");
    CHECK(ee_session_open(&session, model, NULL, arena, bytes - 1, FRAMES)
          == EE_ERR_ARENA_TOO_SMALL, "one byte too small");
    CHECK(ee_session_open(&session, model, NULL, arena, 0, FRAMES)
          == EE_ERR_ARENA_TOO_SMALL, "nothing");

    CHECK(ee_encoder_frames(&config, 246) == config.max_frames
          && ee_encoder_frames(&config, 247) == config.max_frames + 1, "limit");
    CHECK(ee_session_open(&session, model, NULL, arena, bytes, 247)
          == EE_ERR_TOO_MANY_FRAMES, "too many frames");
    CHECK(ee_session_open(&session, model, NULL, arena, bytes, SIZE_MAX)
          == EE_ERR_TOO_MANY_FRAMES, "absurdly many frames");

    const ee_team broken[] = {{0, 48, run_backwards}, {1, 0, run_backwards}, {1, 48, NULL}};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        CHECK(ee_arena_size(&config, FRAMES, &broken[i], &bytes) == EE_ERR_ARGUMENT, "team %zu", i);
        CHECK(ee_session_open(&session, model, &broken[i], arena, bytes, FRAMES)
              == EE_ERR_ARGUMENT, "team %zu", i);
    }
    CHECK(session == NULL, "no session after an error");
    for (size_t i = 0; i < bytes; i++) {
        if (arena[i] != 0xA5) {
            CHECK(0, "an error wrote byte %zu of the arena", i);
            break;
        }
    }
    ee_output out;
    CHECK(ee_session_step(NULL) == EE_ERR_ARGUMENT, "no session");
    CHECK(ee_session_output(NULL, &out) == EE_ERR_ARGUMENT, "no session");
    CHECK(ee_session_feed(NULL, NULL, 0, 1) == EE_ERR_ARGUMENT, "no session");
    free(arena);
}

/* What is refused leaves the session as it was. */
static void check_feed(const ee_model *model, float *features)
{
    ee_session *const session = open_session(model, NULL, FRAMES);
    size_t bytes = 0;
    ee_output out;

    ee_arena_size(&config, FRAMES, NULL, &bytes);
    CHECK(ee_session_step(session) == EE_MORE, "before the first feed");
    CHECK(ee_session_output(session, &out) == EE_MORE && out.exit == 0 && out.data == NULL,
          "before the first feed");
    CHECK(ee_session_output(session, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_session_feed(session, features, 20, 0) == EE_OK, "feed");
    CHECK(ee_session_step(session) == EE_MORE, "before the last feed");

    unsigned char *const before = aligned_memory(bytes);
    memcpy(before, session, bytes);
    CHECK(ee_session_feed(session, NULL, 1, 0) == EE_ERR_ARGUMENT, "no features");
    CHECK(ee_session_feed(session, (const float *)(const void *)((const char *)features + 1), 9, 0)
          == EE_ERR_ALIGNMENT, "misaligned features");
    CHECK(ee_session_feed(session, features, FRAMES - 19, 1) == EE_ERR_TOO_MANY_FRAMES,
          "one frame more than the capacity");
    CHECK(ee_session_feed(session, features, SIZE_MAX, 1) == EE_ERR_TOO_MANY_FRAMES, "absurd");
    const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const float right = features[FRAMES * config.mels - 1];
        features[FRAMES * config.mels - 1] = wrong[i];
        CHECK(ee_session_feed(session, features + 20 * config.mels, FRAMES - 20, 1)
              == EE_ERR_NOT_FINITE, "%g among the features", (double)wrong[i]);
        features[FRAMES * config.mels - 1] = right;
    }
    CHECK(memcmp(before, session, bytes) == 0, "an error changed the session");
    CHECK(ee_session_feed(session, features + 20 * config.mels, FRAMES - 20, 1) == EE_OK,
          "the rest");
    CHECK(ee_session_feed(session, features, 0, 1) == EE_ERR_ENDED, "after the end");
    CHECK(step(session, &out) && out.exit == 1 && out.first == 0, "exit 1");
    CHECK(ee_session_feed(session, features, 1, 0) == EE_ERR_ENDED, "after the end");
    CHECK(step(session, &out) && out.exit == 2, "exit 2");
    CHECK(ee_session_step(session) == EE_DONE, "after the last exit");
    CHECK(ee_session_output(session, &out) == EE_OK && out.exit == 2, "after the last exit");
    free(before);
    free(session);
}

/* The last byte that a run writes is the last byte of the plan. The feature encoder of int8 mode is
 * planned for whole pieces, which these models do not fill. */
static void check_plan(const ee_model *model, const float *features, size_t frames,
                       const ee_team *team)
{
    enum { AROUND = 4096 }; /* bytes on either side of the arena that have to stay */
    size_t bytes = 0, touched = 0, before = 0;
    ee_session *session = NULL;
    const unsigned char patterns[2] = {0xA5, 0x5A};

    CHECK(ee_arena_size(&config, frames, team, &bytes) == EE_OK, "%zu frames", frames);
    unsigned char *const memory = aligned_memory(AROUND + bytes + AROUND);
    unsigned char *const arena = memory + AROUND;

    /* Two patterns: a byte written may happen to equal one of them. */
    for (int p = 0; p < 2; p++) {
        memset(memory, patterns[p], AROUND + bytes + AROUND);
        CHECK(ee_session_open(&session, model, team, arena, bytes, frames) == EE_OK,
              "%zu frames", frames);
        CHECK(ee_session_feed(session, features, frames, 1) == EE_OK, "%zu frames", frames);
        for (uint32_t e = 1; e <= config.exits; e++) {
            ee_output out = {0};

            CHECK(step(session, &out) && out.exit == e, "exit %u", (unsigned)e);
            CHECK(out.rows == ee_encoder_frames(&config, frames) && out.columns == config.vocab
                  && out.kind == EE_OUTPUT_LOG_PROBS && out.first == 0, "%zu rows", out.rows);
            for (size_t t = 0; t < out.rows; t++) {
                double sum = 0.0;
                for (size_t v = 0; v < config.vocab; v++) {
                    sum += exp((double)out.data[t * config.vocab + v]);
                }
                CHECK(fabs(sum - 1.0) < 1e-5, "exit %u, frame %zu: sum %g", (unsigned)e, t, sum);
            }
        }
        CHECK(ee_session_step(session) == EE_DONE, "after the last exit");
        for (size_t i = 0; i < AROUND; i++) {
            before += memory[i] != patterns[p];
        }
        for (size_t i = 0; i < bytes + AROUND; i++) {
            if (arena[i] != patterns[p] && i + 1 > touched) {
                touched = i + 1;
            }
        }
    }
    CHECK(before == 0, "%zu frames: %zu bytes written before the arena", frames, before);
    const int fills_pieces = config.channels == 0 || config.dtype == EE_DTYPE_F32;
    if (ee_encoder_frames(&config, frames) > 0 && fills_pieces) {
        CHECK(touched == bytes, "%zu frames: planned %zu bytes, used %zu", frames, bytes, touched);
    } else {
        CHECK(touched <= bytes, "%zu frames: planned %zu bytes, used %zu", frames, bytes, touched);
    }
    free(memory);
}

/* Every exit: on every team, with more capacity than is used, fed in slices, what one feed gives. */
static void check_same_bytes(const ee_model *model, const float *features, size_t frames)
{
    enum { SLICES = 4 };
    const size_t slices[SLICES] = {1, 3, 7, 16}, longest = 243;
    ee_session *sessions[TEAM_COUNT + SLICES];
    ee_output expected, found;

    for (int t = 0; t < TEAM_COUNT; t++) {
        sessions[t] = open_session(model, TEAMS[t], t % 2 == 0 ? frames : longest);
        CHECK(ee_session_feed(sessions[t], features, frames, 1) == EE_OK, "team %d", t);
    }
    for (int i = 0; i < SLICES; i++) {
        ee_session *const session = open_session(model, TEAMS[i % TEAM_COUNT], longest);

        sessions[TEAM_COUNT + i] = session;
        for (size_t at = 0; at < frames; at += slices[i]) {
            const size_t fed = frames - at < slices[i] ? frames - at : slices[i];
            /* A copy of its own: nothing of it is read later. */
            float *const slice = aligned_memory(fed * config.mels * sizeof(float));
            memcpy(slice, features + at * config.mels, fed * config.mels * sizeof(float));
            CHECK(ee_session_feed(session, slice, fed, 0) == EE_OK, "frame %zu", at);
            free(slice);
        }
        CHECK(ee_session_feed(session, NULL, 0, 1) == EE_OK, "the end");
    }
    while (step(sessions[0], &expected)) {
        for (int i = 1; i < TEAM_COUNT + SLICES; i++) {
            CHECK(step(sessions[i], &found) && found.exit == expected.exit, "session %d", i);
            CHECK(found.rows == expected.rows
                  && memcmp(found.data, expected.data,
                            found.rows * config.vocab * sizeof(float)) == 0
                  && memcmp(found.hidden, expected.hidden,
                            found.rows * config.dim * sizeof(float)) == 0,
                  "%zu frames, session %d, exit %u: other bytes", frames, i,
                  (unsigned)expected.exit);
        }
    }
    for (int i = 0; i < TEAM_COUNT + SLICES; i++) {
        free(sessions[i]);
    }
}

/* Two sessions of one model, step by step in turn, give what each gives alone. */
static void check_two_sessions(const ee_model *model, const float *features)
{
    ee_session *sessions[3];
    ee_output first, other, alone = {0};

    for (int i = 0; i < 3; i++) {
        sessions[i] = open_session(model, i == 2 ? NULL : &SEVENS, FRAMES);
        CHECK(ee_session_feed(sessions[i], i == 1 ? features + config.mels : features,
                              FRAMES - (i == 1), 1) == EE_OK, "session %d", i);
    }
    while (step(sessions[0], &first)) {
        CHECK(step(sessions[1], &other), "other session");
    }
    while (step(sessions[2], &alone)) {
    }
    CHECK(memcmp(first.data, alone.data, alone.rows * config.vocab * sizeof(float)) == 0,
          "sessions disturb each other");
    for (int i = 0; i < 3; i++) {
        free(sessions[i]);
    }
}

static void check_names(void)
{
    const ee_status statuses[] = {
        EE_OK, EE_DONE, EE_MORE, EE_ERR_ENDED, EE_ERR_ARGUMENT, EE_ERR_CONFIG,
        EE_ERR_TENSOR_COUNT, EE_ERR_TENSOR_SIZE,
        EE_ERR_ALIGNMENT, EE_ERR_MODEL_TOO_SMALL, EE_ERR_ARENA_TOO_SMALL, EE_ERR_TOO_MANY_FRAMES,
        EE_ERR_TOO_LARGE, EE_ERR_NOT_FINITE, EE_ERR_DTYPE, EE_ERR_THREADS,
    };
    const size_t count = sizeof(statuses) / sizeof(statuses[0]);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(ee_status_name(statuses[i]), ee_status_name(statuses[j])) != 0, "%zu", i);
            CHECK(strcmp(ee_strerror(statuses[i]), ee_strerror(statuses[j])) != 0, "%zu", i);
        }
        CHECK(strcmp(ee_status_name(statuses[i]), "EE_ERR_UNKNOWN") != 0, "%zu", i);
    }
    CHECK(strcmp(ee_status_name(EE_ERR_CONFIG), "EE_ERR_CONFIG") == 0, "name");
    CHECK(strcmp(ee_status_name((ee_status)-99), "EE_ERR_UNKNOWN") == 0, "no such status");
    CHECK(ee_strerror((ee_status)-99) != NULL, "no such status");
    CHECK(ee_abi_version() == EE_ABI_VERSION, "library and header");
}

/* 2 exits, of 1 and 2 layers, whose widths are no multiples of 4. */
static const ee_config SMALL = {
    .architecture = EE_ARCH_CONFORMER, .exits = 2, .layers_per_exit = {1, 2}, .dim = 10,
    .heads = 2, .ff = 22, .kernel = 5, .vocab = 7, .mels = MELS, .stem_kernel = 3,
    .stem_stride = 2, .max_frames = 60, .norm_eps = 1e-5f, .parallel = {1}, .lstm_layers = 2,
    .lstm_width = 3,
};

/* An architecture, and how many tensors the model above has of it, in float32 and in int8 mode. */
static const struct {
    uint32_t architecture;
    size_t tensors[2];
} MODELS[] = {
    {EE_ARCH_CONFORMER, {93, 122}},
    {EE_ARCH_SPLITFORMER, {93 + 28, 122 + 36}},
    {EE_ARCH_ZIPFORMER, {93 - 2, 122 - 3}},
    {EE_ARCH_CONFORMER_LSTM, {93 + 4 * 4, 122 + 4 * 7}},
};

/* What only some architectures refuse. */
static void check_own(void)
{
    const ee_config right = config;

    if (config.architecture == EE_ARCH_ZIPFORMER) {
        expect_config("layers", &config.layers_per_exit[1], 19);
    }
    if (config.architecture == EE_ARCH_CONFORMER_LSTM) {
        expect_config("lstm_layers", &config.lstm_layers, 0);
        expect_config("lstm_layers", &config.lstm_layers, EE_MAX_LSTM_LAYERS + 1);
        expect_config("lstm_width", &config.lstm_width, 0);
        expect_config("lstm_width", &config.lstm_width, EE_MAX_SIZE / 8 + 1);
    }
    if (config.architecture != EE_ARCH_CONFORMER) {
        config.conv = EE_CONV_CHUNK;
        expect_config("chunk", &config.chunk, 4);
    }
    config = right;
}

static void check_runtime(size_t number, uint32_t dtype, float *features)
{
    const uint32_t architecture = MODELS[number].architecture;
    const size_t all_frames[] = {0, 1, 6, 7, 10, 11, FRAMES, 192, 195, 199, 243};
    ee_config made = SMALL;

    made.architecture = architecture;
    made.dtype = dtype;
    /* Its first window is shorter, so that as many features make one frame more. */
    made.max_frames += architecture == EE_ARCH_ZIPFORMER;
    ops = ee_ops_for(EE_ISA_C);
    make_model(&made);
    CHECK(tensor_count == MODELS[number].tensors[dtype], "%zu tensors", tensor_count);
    check_config();
    check_own();
    if (architecture == EE_ARCH_SPLITFORMER) {
        check_parallel();
    }
    check_model_open();
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        ops = ee_ops_for((ee_isa)i);
        if (ops == NULL) {
            continue;
        }
        ee_model *const model = open_model();
        check_session_open(model);
        check_feed(model, features);
        for (size_t f = 0; f < sizeof(all_frames) / sizeof(all_frames[0]); f++) {
            check_plan(model, features, all_frames[f], NULL);
            check_plan(model, features, all_frames[f], &ON_LAST);
            check_same_bytes(model, features, all_frames[f]);
        }
        check_two_sessions(model, features);
        free(model);
    }
    free_tensors();
}

/* ---- Models that take samples ---- */

static const ee_config SPEECH = {
    .exits = 2, .layers_per_exit = {1, 2}, .dim = 12, .heads = 2, .ff = 22, .kernel = 6, .vocab = 7,
    .mels = 1, .positions = EE_POSITIONS_NONE, .norm_eps = 1e-5f, .channels = 10, .groups = 3,
    .conv_kernel = {4, 3}, .conv_stride = {2, 2},
};

static void expect_uint16(const char *field, uint16_t *value, uint16_t wrong)
{
    const uint16_t right = *value;
    size_t bytes;

    *value = wrong;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "%s = %u", field, (unsigned)wrong);
    *value = right;
}

static void check_speech_config(void)
{
    size_t bytes;

    expect_config("dim", &config.dim, 0);
    expect_config("heads", &config.heads, 5);
    expect_config("kernel", &config.kernel, 0);
    expect_config("mels", &config.mels, 2);
    expect_config("chunk", &config.chunk, 4);
    expect_config("conv", &config.conv, EE_CONV_CAUSAL);
    expect_config("positions", &config.positions, EE_POSITIONS_TABLE);
    expect_config("max_frames", &config.max_frames, 9);
    expect_config("channels", &config.channels, 0);
    expect_config("groups", &config.groups, 0);
    expect_config("groups", &config.groups, 5);
    expect_config("conv_bias", &config.conv_bias, 2);
    expect_config("conv_norm", &config.conv_norm, 2);
    expect_config("norm", &config.norm, 2);
    expect_config("buckets", &config.buckets, 6);
    if (config.architecture == EE_ARCH_WAVLM) {
        expect_config("buckets", &config.buckets, 0);
        expect_config("max_distance", &config.max_distance, config.buckets / 4);
        expect_config("max_distance", &config.max_distance, EE_MAX_SIZE + 1);
    } else {
        expect_config("buckets", &config.buckets, 8);
    }
    expect_uint16("no convolution", &config.conv_kernel[0], 0);
    expect_uint16("a kernel without a stride", &config.conv_stride[1], 0);
    expect_uint16("a stride without a kernel", &config.conv_stride[2], 1);
    expect_uint16("a kernel after the last", &config.conv_kernel[3], 1);
    expect_uint16("a window of more than EE_MAX_SIZE", &config.conv_kernel[1], 65535);
    expect_uint16("a step of more than EE_MAX_SIZE", &config.conv_stride[0], 65535);
    config.head_norm[1] = 2;
    CHECK(ee_model_size(&config, &bytes) == EE_ERR_CONFIG, "head_norm = 2");
    config.head_norm[1] = 1;
    CHECK(ee_model_size(&config, &bytes) == EE_OK, "head_norm = 1");
}

static void check_speech(uint32_t architecture, uint32_t norm, uint32_t dtype, float *features)
{
    const size_t all_frames[] = {0, 1, 7, 8, 9, 11, FRAMES, 199, 243};
    ee_config made = SPEECH;

    made.architecture = architecture;
    made.dtype = dtype;
    made.norm = norm;
    made.conv_norm = norm == EE_NORM_PRE ? EE_CONV_NORM_LAYER : EE_CONV_NORM_GROUP;
    made.conv_bias = norm == EE_NORM_PRE;
    made.head_norm[1] = norm == EE_NORM_PRE;
    made.buckets = architecture == EE_ARCH_WAVLM ? 8 : 0;
    made.max_distance = architecture == EE_ARCH_WAVLM ? 20 : 0;
    ops = ee_ops_for(EE_ISA_C);
    make_model(&made);
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        ops = ee_ops_for((ee_isa)i);
        if (ops == NULL) {
            continue;
        }
        ee_model *const model = open_model();
        check_feed(model, features);
        for (size_t f = 0; f < sizeof(all_frames) / sizeof(all_frames[0]); f++) {
            check_plan(model, features, all_frames[f], NULL);
            check_plan(model, features, all_frames[f], &ON_LAST);
            check_same_bytes(model, features, all_frames[f]);
        }
        check_two_sessions(model, features);
        free(model);
    }
    check_speech_config();
    free_tensors();
}

/* ---- Packing: that bytes stay is for tests/test_native.py ---- */

static size_t packed_size(const ee_model *model)
{
    size_t bytes = 1;

    CHECK(ee_model_packed_size(model, &bytes) == EE_OK, "size of a packed model");
    return bytes;
}

static void check_pack(uint32_t dtype, uint32_t dim, const float *features)
{
    ee_config made = SMALL;

    made.dtype = dtype;
    made.dim = dim;
    make_model(&made);
    for (int i = EE_ISA_C; i <= (int)ee_isa_best(); i++) {
        ops = ee_ops_for((ee_isa)i);
        if (ops == NULL) {
            continue;
        }
        ee_model *const model = open_model();
        const size_t bytes = packed_size(model);
        char *const memory = aligned_memory(bytes + 64);
        const int has_pack = dtype == EE_DTYPE_F32 ? ops->f32->pack != NULL : ops->qs8->pack != NULL;
        const int gains = dim % 16 == 0 && has_pack;

        CHECK((bytes > 0) == gains, "%zu bytes at dim %u", bytes, (unsigned)dim);
        CHECK(ee_model_packed_size(NULL, NULL) == EE_ERR_ARGUMENT, "no model");
        CHECK(ee_model_packed_size(model, NULL) == EE_ERR_ARGUMENT, "no result");
        CHECK(ee_model_pack(NULL, memory, bytes) == EE_ERR_ARGUMENT, "no model");
        if (gains) {
            CHECK(ee_model_pack(model, NULL, bytes) == EE_ERR_ARGUMENT, "no memory");
            CHECK(ee_model_pack(model, memory + 16, bytes) == EE_ERR_ALIGNMENT, "at 16 bytes");
            CHECK(ee_model_pack(model, memory, bytes - 1) == EE_ERR_MODEL_TOO_SMALL, "too small");
            CHECK(packed_size(model) == bytes, "packed in spite of an error");
        }
        memset(memory, 0x55, bytes + 64);
        CHECK(ee_model_pack(model, memory, bytes) == EE_OK, "packing");
        CHECK(memory[bytes] == 0x55, "wrote behind its memory");
        CHECK(packed_size(model) == 0, "packed twice");
        check_plan(model, features, FRAMES, NULL);
        free(memory);
        free(model);
    }
    free_tensors();
}

/* ---- Streams: models with a limited view ---- */

enum { STREAM = 1200, MOST_EXITS = 3 };

/* The rows of every exit that one feed of everything gives. */
typedef struct {
    float *log_probs[MOST_EXITS], *hidden[MOST_EXITS];
    size_t rows;
} whole;

static whole run_whole(const ee_model *model, const float *features, size_t frames)
{
    ee_session *const session = open_session(model, NULL, frames);
    whole result = {.rows = ee_encoder_frames(&config, frames)};
    ee_output out;

    CHECK(ee_session_feed(session, features, frames, 1) == EE_OK, "feed");
    while (step(session, &out)) {
        const size_t bytes = out.rows * sizeof(float);

        CHECK(out.rows == result.rows && out.first == 0, "%zu rows", out.rows);
        result.log_probs[out.exit - 1] = aligned_memory(bytes * config.vocab);
        result.hidden[out.exit - 1] = aligned_memory(bytes * config.dim);
        memcpy(result.log_probs[out.exit - 1], out.data, bytes * config.vocab);
        memcpy(result.hidden[out.exit - 1], out.hidden, bytes * config.dim);
    }
    free(session);
    return result;
}

/* Bytes of int8 mode; of float32 what rounding explains. */
static int same_rows(const float *found, const float *expected, size_t count)
{
    float most = 0.0f;

    for (size_t i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(found[i] - expected[i]));
    }
    return config.dtype == EE_DTYPE_F32 ? most <= 1e-6f
                                        : memcmp(found, expected, count * sizeof(*found)) == 0;
}

static size_t below(size_t limit)
{
    return (size_t)((random_float() + 1.0f) * 0.5f * (float)limit);
}

/* Frames that wait when every block is stepped, at most. */
static size_t most_waiting(void)
{
    size_t frames = 0;

    while (ee_encoder_frames(&config, frames + 1) < config.chunk) {
        frames++;
    }
    return frames;
}

/* Slices of up to `slice` frames, each block to some exit, which may be none. */
static void check_stream(const ee_model *model, const float *features, const whole *expected,
                         size_t slice, uint32_t least_exit, const ee_team *team)
{
    enum { SKIPPED = 5 }; /* feeds without a step, one after another */
    ee_session *const session =
        open_session(model, team, most_waiting() + (SKIPPED + 1) * slice);
    size_t rows = 0, first = 0, skipped = 0;
    ee_output out;

    for (size_t at = 0; at < STREAM;) {
        const size_t wanted = least_exit == MOST_EXITS ? slice : below(slice + 1);
        const size_t fed = STREAM - at < wanted ? STREAM - at : wanted;
        const int last = at + fed == STREAM;
        uint32_t exits = least_exit + (uint32_t)below(config.exits + 1 - least_exit);

        CHECK(ee_session_feed(session, features + at * MELS, fed, last) == EE_OK, "frame %zu", at);
        at += fed;
        exits = exits == 0 && (last || skipped == SKIPPED) ? 1 : exits;
        skipped = exits == 0 ? skipped + 1 : 0;
        for (uint32_t e = 1; e <= exits && step(session, &out); e++) {
            CHECK(out.exit == e && out.first == first, "exit %u at %zu", (unsigned)out.exit, first);
            CHECK(out.rows % config.chunk == 0 || last, "%zu rows", out.rows);
            CHECK(out.first + out.rows <= expected->rows
                  && same_rows(out.data, expected->log_probs[e - 1] + first * config.vocab,
                               out.rows * config.vocab)
                  && same_rows(out.hidden, expected->hidden[e - 1] + first * config.dim,
                               out.rows * config.dim),
                  "chunk %u, left %u, slice %zu: other rows at %zu, exit %u", (unsigned)config.chunk,
                  (unsigned)config.left, slice, first, (unsigned)e);
            rows = first + out.rows;
        }
        first = rows;
    }
    CHECK(rows == expected->rows, "%zu rows of %zu", rows, expected->rows);
    free(session);
}

/* A stream uses its arena to the last byte, however long it is. */
static void check_stream_plan(const ee_model *model, const float *features)
{
    enum { AROUND = 4096, TURNS = 40 };
    const size_t slice = 64, capacity = most_waiting() + slice;
    size_t bytes = 0, touched = 0, before = 0, fed = 0;
    ee_session *session = NULL;
    ee_output out = {0};

    CHECK(ee_arena_size(&config, capacity, NULL, &bytes) == EE_OK, "arena");
    unsigned char *const memory = aligned_memory(AROUND + bytes + AROUND);
    memset(memory, 0xA5, AROUND + bytes + AROUND);
    CHECK(ee_session_open(&session, model, NULL, memory + AROUND, bytes, capacity) == EE_OK, "open");
    /* At first all that a feed may bring, for the stem; at last the same with a whole past. */
    for (size_t turn = 0; turn < TURNS; turn++) {
        const size_t frames = turn == 0 ? capacity : slice;

        CHECK(ee_session_feed(session, features + turn % 10 * MELS, frames, 0) == EE_OK, "feed");
        fed += frames;
        for (uint32_t e = 0; e < 1 + turn % config.exits && step(session, &out); e++) {
        }
    }
    const size_t waiting = fed - 4 * (out.first + out.rows);
    CHECK(ee_session_feed(session, features, capacity - waiting + 1, 0) == EE_ERR_TOO_MANY_FRAMES,
          "one frame more than the capacity");
    CHECK(ee_session_feed(session, features, capacity - waiting, 1) == EE_OK, "the capacity");
    while (step(session, &out)) {
    }
    for (size_t i = 0; i < bytes + AROUND; i++) {
        touched = memory[AROUND + i] != 0xA5 ? i + 1 : touched;
    }
    for (size_t i = 0; i < AROUND; i++) {
        before += memory[i] != 0xA5;
    }
    CHECK(before == 0 && touched == bytes,
          "planned %zu bytes, used %zu and %zu before", bytes, touched, before);
    free(memory);
}

static void check_streams(uint32_t dtype)
{
    const struct {
        uint32_t chunk, left, conv, kernel;
    } views[] = {
        {4, 6, EE_CONV_CHUNK, 5}, {3, 0, EE_CONV_CAUSAL, 7}, {1, 1, EE_CONV_CHUNK, 3},
        {16, 3, EE_CONV_CAUSAL, 5}, {5, 40, EE_CONV_CHUNK, 1},
    };
    float *const features = aligned_memory(STREAM * MELS * sizeof(float));

    for (size_t i = 0; i < STREAM * MELS; i++) {
        features[i] = random_float();
    }
    for (size_t v = 0; v < sizeof(views) / sizeof(views[0]); v++) {
        ee_config made = SMALL;

        made.dtype = dtype;
        made.exits = MOST_EXITS;
        made.layers_per_exit[2] = 1;
        made.chunk = views[v].chunk;
        made.left = views[v].left;
        made.conv = views[v].conv;
        made.kernel = views[v].kernel;
        made.positions = EE_POSITIONS_NONE;
        made.max_frames = 0;
        ops = ee_ops_for(ee_isa_best());
        make_model(&made);
        ee_model *const model = open_model();
        whole expected = run_whole(model, features, STREAM);
        for (size_t slice = 1; slice < 130; slice = 2 * slice + 1) {
            for (uint32_t least = 0; least <= MOST_EXITS; least++) {
                check_stream(model, features, &expected, slice, least, NULL);
                check_stream(model, features, &expected, slice, least, &SEVENS);
            }
        }
        check_stream_plan(model, features);
        for (int e = 0; e < MOST_EXITS; e++) {
            free(expected.log_probs[e]);
            free(expected.hidden[e]);
        }
        free(model);
        free_tensors();
    }
    free(features);
}

int main(void)
{
    float *const features = aligned_memory(243 * MELS * sizeof(float));

    for (size_t i = 0; i < 243 * MELS; i++) {
        features[i] = random_float();
    }
    check_names();
    for (size_t m = 0; m < sizeof(MODELS) / sizeof(MODELS[0]); m++) {
        check_runtime(m, EE_DTYPE_F32, features);
        check_runtime(m, EE_DTYPE_QS8, features);
    }
    for (uint32_t norm = EE_NORM_POST; norm <= EE_NORM_PRE; norm++) {
        for (uint32_t dtype = EE_DTYPE_F32; dtype <= EE_DTYPE_QS8; dtype++) {
            check_speech(EE_ARCH_WAV2VEC2, norm, dtype, features);
            check_speech(EE_ARCH_WAVLM, norm, dtype, features);
        }
    }
    check_pack(EE_DTYPE_F32, 10, features);
    check_pack(EE_DTYPE_F32, 16, features);
    check_pack(EE_DTYPE_QS8, 10, features);
    check_pack(EE_DTYPE_QS8, 16, features);
    check_streams(EE_DTYPE_F32);
    check_streams(EE_DTYPE_QS8);
    free(features);
    return check_result("check_runtime");
}
