/* The flash image, IMAGE, as it is: used in place, aligned as its tensors want it. */
#ifdef __wasm__
    .section .rodata.ee_image, "", @
    .type port_image, @object
    .type port_image_end, @object
#else
    .section .ee_image, "a", %progbits
#endif
    .balign 64
    .globl port_image
port_image:
#ifdef IMAGE
    .incbin IMAGE
#endif
    .globl port_image_end
port_image_end:
    .balign 4

#ifdef __wasm__
    .size port_image, port_image_end - port_image
    .size port_image_end, 4
#else
    .section .note.GNU-stack, "", %progbits
#endif
