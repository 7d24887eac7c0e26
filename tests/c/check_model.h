/* check_model.h: a model of random tensors, the same everywhere. */
#ifndef CHECK_MODEL_H
#define CHECK_MODEL_H

#include "check.h"
#include "ee.h"

enum { MAX_TENSORS = 300 };

static ee_config config;
static ee_tensor tensors[MAX_TENSORS];
static size_t tensor_count;
static const ee_ops *ops;

static inline void *aligned_memory(size_t bytes)
{
    void *memory = NULL;

    if (posix_memalign(&memory, EE_MEMORY_ALIGNMENT, bytes + 1) != 0) {
        exit(2);
    }
    return memory;
}

/* Random tensors of a model. */
static inline void make_model(const ee_config *made)
{
    ee_tensor_info info;

    config = *made;
    for (tensor_count = 0; ee_tensor_at(&config, tensor_count, &info) == EE_OK; tensor_count++) {
        unsigned char *const data = aligned_memory(info.bytes);
        /* Of scales, which are small, and of the factors of norms. */
        const float size = info.kind == EE_TENSOR_SCALES ? 0.003f : 0.3f;
        const float low = strstr(info.name, "norm.weight") != NULL ? 1.0f
                          : info.kind == EE_TENSOR_SCALES ? 2e-5f : 0.0f;

        for (size_t i = 0; i < info.bytes; i++) {
            data[i] = (unsigned char)(int8_t)(random_float() * 127.0f);
        }
        for (size_t i = 0; info.kind != EE_TENSOR_INT8 && i < info.bytes; i += sizeof(float)) {
            const float value = low + random_float() * size;
            memcpy(data + i, &value, sizeof(value));
        }
        tensors[tensor_count].data = data;
        tensors[tensor_count].bytes = info.bytes;
    }
    CHECK(ee_tensor_at(&config, tensor_count + 1, &info) == EE_DONE, "after the last tensor");
    CHECK(ee_tensor_at(&config, 0, NULL) == EE_ERR_ARGUMENT, "no result");
    CHECK(ee_tensor_at(NULL, 0, &info) == EE_ERR_ARGUMENT, "no config");
}

static inline void free_tensors(void)
{
    for (size_t i = 0; i < tensor_count; i++) {
        free((void *)(uintptr_t)tensors[i].data);
    }
}

static inline ee_model *open_model(void)
{
    size_t bytes = 0;
    ee_model *model = NULL;

    CHECK(ee_model_size(&config, &bytes) == EE_OK, "size of a model");
    CHECK(ee_model_open(aligned_memory(bytes), bytes, &config, tensors, tensor_count, ops, &model)
          == EE_OK, "opening a model");
    if (model == NULL) {
        exit(check_result("opening a model"));
    }
    return model;
}

#endif
