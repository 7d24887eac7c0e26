#include "device.h"

#include <string.h>

#include "port.h"

void check(ee_status status, const char *what)
{
    if (status != EE_OK) {
        port_print(ee_status_name(status));
        port_print("\n");
        runner_fail(what, ee_strerror(status));
    }
}

ee_image device_open_image(runner_memory *memory, const ee_ops *ops)
{
    const size_t bytes = (size_t)(port_image_end - port_image);
    ee_image image;
    size_t needed;

    check(ee_image_memory(port_image, bytes, 0, &needed), "flash image");
    void *const model = runner_take(memory, needed);
#ifdef PORT_IMAGE_INSTALLED /* whoever wrote the flash has called ee_image_check */
    check(ee_image_open_installed(&image, port_image, bytes, 0, model, needed, ops), "flash image");
#else
    check(ee_image_open(&image, port_image, bytes, 0, model, needed, ops), "flash image");
#endif
    return image;
}

static uint32_t little_endian(const unsigned char *bytes, int count)
{
    uint32_t value = 0;

    while (count-- > 0) {
        value = value << 8 | bytes[count];
    }
    return value;
}

int device_open_clip(const char *name, uint32_t sample_rate, size_t *count)
{
    const int file = port_open(name, PORT_READ);
    unsigned char riff[12], chunk[8], format[16], skipped;

    if (file < 0) {
        runner_fail(name, "cannot be opened");
    }
    if (!port_read(file, riff, sizeof riff) || memcmp(riff, "RIFF", 4) != 0
        || memcmp(riff + 8, "WAVE", 4) != 0) {
        runner_fail(name, "not a WAV file");
    }
    while (port_read(file, chunk, sizeof chunk)) {
        uint32_t bytes = little_endian(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0) {
            *count = bytes / sizeof(int16_t);
            return file;
        }
        if (memcmp(chunk, "fmt ", 4) == 0 && bytes >= sizeof format
            && port_read(file, format, sizeof format)) {
            bytes -= sizeof format;
            if (little_endian(format, 2) != 1 || little_endian(format + 2, 2) != 1
                || little_endian(format + 4, 4) != sample_rate
                || little_endian(format + 14, 2) != 16) {
                runner_print_count("samples a second wanted", sample_rate);
                runner_fail(name, "not 16-bit PCM of one channel at that rate");
            }
        }
        for (bytes += bytes % 2; bytes > 0 && port_read(file, &skipped, 1); bytes--) {
        }
    }
    runner_fail(name, "a WAV file without samples");
}

ee_policy device_policy(int argc, char **argv, const ee_config *config)
{
    const char *const exit = runner_argument(argc, argv, "exit");
    const char *const entropy = runner_argument(argc, argv, "entropy");
    ee_policy policy = {.kind = EE_POLICY_FIXED, .exit = config->exits};

    if (exit != NULL) {
        policy.exit = (uint32_t)runner_number(exit);
    }
    if (entropy != NULL) {
        policy.kind = EE_POLICY_ENTROPY;
        policy.threshold = runner_number(entropy);
    }
    return policy;
}

void device_print_meaning(const ee_phrases *phrases, const ee_phrase_meaning *meaning)
{
    if (meaning->intent != EE_PHRASES_NONE) {
        runner_print_text("intent", ee_phrases_string(phrases, meaning->intent));
    }
    for (uint32_t i = 0; i < meaning->slots; i++) {
        runner_print_text(ee_phrases_string(phrases, meaning->slot[i]),
                          ee_phrases_string(phrases, meaning->value[i]));
    }
}

void device_print_memory(const runner_memory *memory, size_t arena, const char *taken)
{
    const size_t stack = port_stack_peak();

    runner_print_count("RAM bytes", memory->peak + port_static_bytes() + stack);
    runner_print_count("  arena", arena);
    runner_print_count(taken, memory->peak);
    runner_print_count("  variables", port_static_bytes());
    runner_print_count("  stack", stack);
    runner_print_count("flash bytes", port_flash_bytes());
    runner_print_count("  image", (size_t)(port_image_end - port_image));
}
