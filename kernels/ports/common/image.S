/* The flash image, IMAGE, as it is: used in place, aligned as its tensors want it. */
    .section .ee_image, "a", %progbits
    .balign 64
    .globl port_image
port_image:
#ifdef IMAGE
    .incbin IMAGE
#endif
    .globl port_image_end
port_image_end:
    .balign 4

    .section .note.GNU-stack, "", %progbits
