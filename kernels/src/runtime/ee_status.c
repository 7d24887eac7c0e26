#include "ee.h"

uint32_t ee_abi_version(void)
{
    return EE_ABI_VERSION;
}

const char *ee_strerror(ee_status status)
{
    switch (status) {
    case EE_OK:
        return "success";
    case EE_DONE:
        return "there is no next one";
    case EE_MORE:
        return "nothing is ready before more is fed";
    case EE_ERR_ARGUMENT:
        return "a required pointer is NULL";
    case EE_ERR_CONFIG:
        return "a field of the configuration is out of its range";
    case EE_ERR_TENSOR_COUNT:
        return "the number of tensors does not fit the configuration";
    case EE_ERR_TENSOR_SIZE:
        return "a tensor has no data or its size does not fit the configuration";
    case EE_ERR_ALIGNMENT:
        return "memory is not aligned: 64 bytes for models and arenas, 16 for tensors";
    case EE_ERR_MODEL_TOO_SMALL:
        return "the memory of the model is smaller than ee_model_size";
    case EE_ERR_ARENA_TOO_SMALL:
        return "the arena is smaller than ee_arena_size";
    case EE_ERR_TOO_MANY_FRAMES:
        return "more frames than the session has capacity or the model has positions";
    case EE_ERR_TOO_LARGE:
        return "the plan does not fit the address space";
    case EE_ERR_NOT_FINITE:
        return "NaN or infinity where finite numbers are expected";
    case EE_ERR_BUFFER_TOO_SMALL:
        return "a result does not fit the buffer given for it";
    case EE_ERR_IMAGE_MAGIC:
        return "not a flash image, or one of another byte order";
    case EE_ERR_IMAGE_ABI:
        return "the flash image has another ABI version than this library";
    case EE_ERR_IMAGE_TRUNCATED:
        return "the flash image ends early, or not at the end of an exit";
    case EE_ERR_IMAGE_CHECKSUM:
        return "the flash image is damaged: a checksum does not fit";
    case EE_ERR_IMAGE_EXITS:
        return "the flash image holds fewer exits than asked for";
    case EE_ERR_IMAGE_LAYOUT:
        return "sizes or offsets of the flash image contradict each other";
    case EE_ERR_DTYPE:
        return "the library was built without the arithmetic of the model";
    case EE_ERR_THREADS:
        return "the system has no threads, or gives no more";
    case EE_ERR_ENDED:
        return "nothing can be fed after the end";
    case EE_ERR_RANGE:
        return "a number among the arguments is out of its range";
    }
    return "unknown status";
}

const char *ee_status_name(ee_status status)
{
    switch (status) {
    case EE_OK:
        return "EE_OK";
    case EE_DONE:
        return "EE_DONE";
    case EE_MORE:
        return "EE_MORE";
    case EE_ERR_ARGUMENT:
        return "EE_ERR_ARGUMENT";
    case EE_ERR_CONFIG:
        return "EE_ERR_CONFIG";
    case EE_ERR_TENSOR_COUNT:
        return "EE_ERR_TENSOR_COUNT";
    case EE_ERR_TENSOR_SIZE:
        return "EE_ERR_TENSOR_SIZE";
    case EE_ERR_ALIGNMENT:
        return "EE_ERR_ALIGNMENT";
    case EE_ERR_MODEL_TOO_SMALL:
        return "EE_ERR_MODEL_TOO_SMALL";
    case EE_ERR_ARENA_TOO_SMALL:
        return "EE_ERR_ARENA_TOO_SMALL";
    case EE_ERR_TOO_MANY_FRAMES:
        return "EE_ERR_TOO_MANY_FRAMES";
    case EE_ERR_TOO_LARGE:
        return "EE_ERR_TOO_LARGE";
    case EE_ERR_NOT_FINITE:
        return "EE_ERR_NOT_FINITE";
    case EE_ERR_BUFFER_TOO_SMALL:
        return "EE_ERR_BUFFER_TOO_SMALL";
    case EE_ERR_IMAGE_MAGIC:
        return "EE_ERR_IMAGE_MAGIC";
    case EE_ERR_IMAGE_ABI:
        return "EE_ERR_IMAGE_ABI";
    case EE_ERR_IMAGE_TRUNCATED:
        return "EE_ERR_IMAGE_TRUNCATED";
    case EE_ERR_IMAGE_CHECKSUM:
        return "EE_ERR_IMAGE_CHECKSUM";
    case EE_ERR_IMAGE_EXITS:
        return "EE_ERR_IMAGE_EXITS";
    case EE_ERR_IMAGE_LAYOUT:
        return "EE_ERR_IMAGE_LAYOUT";
    case EE_ERR_DTYPE:
        return "EE_ERR_DTYPE";
    case EE_ERR_THREADS:
        return "EE_ERR_THREADS";
    case EE_ERR_ENDED:
        return "EE_ERR_ENDED";
    case EE_ERR_RANGE:
        return "EE_ERR_RANGE";
    }
    return "EE_ERR_UNKNOWN";
}
