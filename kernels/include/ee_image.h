/* ee_image.h: opens a flash image (weights_io/FORMAT.md): a model, its front end, its labels and
 * the phrases that may be said, in one block of const data, used in place. `ee-ref export` writes
 * them.
 *
 *   ee_image_memory -> ee_image_open     once; or ee_image_check when it is installed, and
 *                                        ee_image_open_installed at every start
 *   ee_features_s16                      samples to features, with opened.frontend
 *   ee_session_open ...                  with opened.model
 *   ee_greedy, ee_text                   with opened.blank and opened.labels
 *   ee_phrase_search_open ...            with opened.phrases
 *   ee_stream_open                       with all of these
 */
#ifndef EE_IMAGE_H
#define EE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "ee.h"
#include "ee_decode.h"
#include "ee_frontend.h"
#include "ee_phrases.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cdef:begin */
enum {
    EE_IMAGE_ABI = 3,           /* changes when the layout of an image or its tensors do */
    EE_IMAGE_HEADER_BYTES = 2048,
    EE_IMAGE_SECTIONS = 104,    /* that a header has room for */
    EE_IMAGE_ALIGNMENT = 64,    /* of an image and of everything in it, in bytes */
    /* Stack that any call into this library uses at most, with the portable kernels and those of
     * microcontrollers: `make stack`; measured in tests/c/check_image.c. */
    EE_STACK_BYTES = 4608
};

/* Kinds of sections. A reader skips those that it does not know. */
enum {
    EE_SECTION_FRONTEND = 1, /* tables of the front end */
    EE_SECTION_LABELS = 2,
    EE_SECTION_STEM = 3,     /* tensors of the stem */
    EE_SECTION_EXIT = 4,     /* tensors of an exit; as many as there are exits, and the last ones */
    EE_SECTION_FAMILY = 5,   /* what only this architecture has in its configuration */
    EE_SECTION_PHRASES = 6   /* what may be said, and what it means; in some images */
};

/* An open image. Its pointers lead into the image and into the memory given to ee_image_open. */
typedef struct {
    ee_model *model;
    ee_config config;        /* with the exits opened */
    ee_frontend frontend;
    ee_labels labels;
    ee_phrases phrases;      /* phrases.graph.states is 0 where the image has none */
    uint32_t sample_rate;    /* of the samples, 1000..1000000 Hz */
    uint32_t blank;          /* the label of the CTC blank */
    uint32_t model_checksum; /* that `ee-ref info` prints for the model file */
    size_t bytes;            /* of the image, up to the last exit opened */
} ee_image;

/* Bytes of memory that ee_image_open needs for the first `exits` exits of an image, 0 for all that
 * it holds. Of the image only the configuration is read; checksums are left to
 * ee_image_open. */
ee_status ee_image_memory(const void *image, size_t bytes, uint32_t exits, size_t *size);

/* Checks an image whole, checksums first, and opens its first `exits` exits.
 *
 * `bytes`: how much may be read from `image` on, at least what the exits asked for need. With exits
 * = 0, all that the image holds are opened, and `bytes` is exactly its size. memory: `size` bytes,
 * aligned as that of a model, kept as long as the image is in use. ops: as for
 * ee_model_open. Nothing is written before everything is checked, nor outside memory and *opened;
 * on an error opened->model is NULL.
 *
 * EE_ERR_ALIGNMENT             image or memory not aligned
 * EE_ERR_IMAGE_MAGIC           not a flash image, or one of another byte order
 * EE_ERR_IMAGE_ABI             of another ABI version than this library
 * EE_ERR_IMAGE_TRUNCATED       fewer bytes than its header says, or not the end of an exit
 * EE_ERR_IMAGE_CHECKSUM        damaged
 * EE_ERR_IMAGE_EXITS           more exits asked for than the image holds
 * EE_ERR_IMAGE_LAYOUT          sizes or offsets that contradict each other, or something where the
 *                              header has zeros
 * EE_ERR_MODEL_TOO_SMALL       memory smaller than ee_image_memory
 * and those of ee_model_open and ee_frontend_check. */
ee_status ee_image_open(ee_image *opened, const void *image, size_t bytes, uint32_t exits,
                        void *memory, size_t size, const ee_ops *ops);

/* The checksums of an image up to the last of its first `exits` exits: most of what opening takes
 * where a core is slow. bytes, exits, errors: as of ee_image_open, up to EE_ERR_IMAGE_EXITS. */
ee_status ee_image_check(const void *image, size_t bytes, uint32_t exits, const ee_ops *ops);

/* As ee_image_open, for an image that ee_image_check found right when it was installed: the
 * checksums of its sections are not computed again. All else is checked, so that no image leads the
 * library out of its memory; but if the flash has changed since, other words are found. */
ee_status ee_image_open_installed(ee_image *opened, const void *image, size_t bytes,
                                  uint32_t exits, void *memory, size_t size, const ee_ops *ops);
/* cdef:end */

#ifdef __cplusplus
}
#endif

#endif
