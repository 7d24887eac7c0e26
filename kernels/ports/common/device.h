/* device.h: what the firmware that hears clips shares: the flash image, a WAV file for a microphone,
 * the policy. What goes wrong ends the program with a message. */
#ifndef DEVICE_H
#define DEVICE_H

#include "ee_exits.h"
#include "ee_image.h"
#include "runner.h"

void check(ee_status status, const char *what);

/* The model of the flash image: its checksums are computed, its tensors stay where they are. */
ee_image device_open_image(runner_memory *memory, const ee_ops *ops);

/* Opens a file of 16-bit mono PCM at this rate, and reads it up to its samples. *count: how many. */
int device_open_clip(const char *name, uint32_t sample_rate, size_t *count);

/* The policy of the arguments exit=N or entropy=THRESHOLD, or the last exit. */
ee_policy device_policy(int argc, char **argv, const ee_config *config);

/* Lines for RAM and flash. taken: what the whole memory holds, in words. */
void device_print_memory(const runner_memory *memory, size_t arena, const char *taken);

/* Lines for the intent and each slot. */
void device_print_meaning(const ee_phrases *phrases, const ee_phrase_meaning *meaning);

#endif
