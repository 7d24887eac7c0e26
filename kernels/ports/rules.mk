# How the programs of one board, BOARD, are made and run.
include $(BOARD)/board.mk

LAYOUT ?= board
POLICY ?=
INSTALLED ?= no
BUILD := $(OUT)/$(BOARD)/$(LAYOUT)$(if $(filter yes,$(INSTALLED)),_installed)
LIBRARY := $(OUT)/$(BOARD)/library/libee.a

CC := $(or $(COMPILER),$(CROSS)gcc)
AR := $(CROSS)ar
NM := $(CROSS)nm
# Int8 mode alone, unless the board says F32 := yes, in one thread; square roots without errno, an
# instruction where there is one.
OPTIMISE ?= -O2
CFLAGS := $(CPU) $(OPTIMISE) $(if $(filter yes,$(F32)),,-DEE_NO_F32) -DEE_NO_THREADS \
    -fno-math-errno -ffunction-sections -fdata-sections
FLAGS := $(CFLAGS) -std=c99 -ffp-contract=off -Wall -Wextra -Werror -I../include -Icommon \
    $(if $(filter yes,$(INSTALLED)),-DPORT_IMAGE_INSTALLED)

# A bare-metal program gets no start files and no system calls: a heap or stdio would not link.
ifneq ($(HOSTED),yes)
SCRIPT := $(BOARD)/$(LAYOUT).ld
LAYOUTS := $(SCRIPT) common/sections.ld
LINK := -nostartfiles -nostdlib -Wl,--gc-sections,-z,noexecstack -Lcommon -T $(SCRIPT)
LIBRARIES += -lgcc
endif

SHARED := common/runner.c $(START)
HEADERS := $(wildcard common/*.h ../include/* ../src/*/*.h ../src/ops/*/*.h)

.PHONY: web run listen conformance symbols build execute command library tools c-library FORCE
build: $(BUILD)/transcribe.elf $(BUILD)/listen.elf $(BUILD)/conformance.elf $(BUILD)/faults.elf

library:
	$(MAKE) --no-print-directory -s -C .. OUT=$(patsubst %/,%,$(dir $(LIBRARY))) CC='$(CC)' \
	    AR='$(AR)' CFLAGS='$(CFLAGS)' $(LIBRARY)
$(LIBRARY): library ;

# What has to be installed, for who wants to know before: programs, and a C library.
tools:
	echo $(CC) $(TOOLS) $(firstword $(EMULATOR))
c-library:
	printf '#include <%s.h>\n' math string | $(CC) $(CFLAGS) -fsyntax-only -xc -

define objects
$(addprefix $(BUILD)/,$(addsuffix .o,$(basename $(1))))
endef

$(BUILD)/%.o: %.c $(HEADERS) $(BOARD)/board.mk
	mkdir -p $(@D)
	$(CC) $(FLAGS) -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -c -o $@ $<

$(BUILD)/%.o: %.S
	mkdir -p $(@D)
	$(CC) $(FLAGS) -c -o $@ $<

# The image of the small bundled model, all of its exits. A model with other weights is another file.
MODEL := ../../ee_ref/assets/commands.gguf
IMAGE ?= $(OUT)/image.bin
$(OUT)/image.bin: $(MODEL)
	mkdir -p $(@D)
	cd ../.. && $(PYTHON) -m ee_ref export $(abspath $(MODEL)) -o $@ --force

# What web pages load (wasm/web.c), where ee-ref web finds it.
WEB := ../../ee_ref/web
$(BUILD)/web.wasm: $(call objects,wasm/web.c wasm/string.c) $(LIBRARY)
	$(CC) $(FLAGS) -Wl,--strip-all -o $@ $^ $(LIBRARIES)
web: $(BUILD)/web.wasm
	cp $< $(WEB)/ee-ref-$(if $(findstring simd128,$(BOARD)),simd128,portable).wasm

# Holds the name of the image, so that another one is linked when the name changes.
$(BUILD)/image.name: FORCE
	mkdir -p $(@D)
	echo '$(abspath $(IMAGE))' | cmp -s - $@ || echo '$(abspath $(IMAGE))' >$@
FORCE:

$(BUILD)/image.o: common/image.S $(IMAGE) $(BUILD)/image.name
	$(CC) $(FLAGS) -DIMAGE='"$(abspath $(IMAGE))"' -c -o $@ $<

$(BUILD)/transcribe.elf $(BUILD)/listen.elf: $(BUILD)/%.elf: \
    $(BUILD)/common/%.o $(call objects,common/device.c $(SHARED)) $(BUILD)/image.o $(LIBRARY) $(LAYOUTS)
	$(CC) $(FLAGS) $(LINK) -o $@ $(filter %.o %.a,$^) $(LIBRARIES)

# The conformance suite. Its image is that of the same model which the suite makes (ten seconds),
# so that it need not be sent: SUITE_IMAGE=file is another one.
SUITE_IMAGE ?= $(OUT)/suite.bin
CONFORMANCE := $(filter-out desk,$(basename $(notdir $(wildcard ../conformance/*.c))))
$(OUT)/suite.bin: $(MODEL)
	mkdir -p $(@D)
	cd ../.. && $(PYTHON) -m ee_ref export $(abspath $(MODEL)) --seconds 10 -o $@ --force

$(BUILD)/suite.o: common/image.S $(SUITE_IMAGE)
	$(CC) $(FLAGS) -DIMAGE='"$(abspath $(SUITE_IMAGE))"' -c -o $@ $<

$(BUILD)/suite_sha256.o: $(SUITE_IMAGE)
	mkdir -p $(@D)
	sha256sum $< | sed 's/^\([0-9a-f]*\).*/const char port_image_sha256[] = "\1";/' >$(@:.o=.c)
	$(CC) $(FLAGS) -c -o $@ $(@:.o=.c)

$(BUILD)/conformance/%.o: ../conformance/%.c $(HEADERS) $(wildcard ../conformance/*.h ../conformance/*.inc)
	mkdir -p $(@D)
	$(CC) $(FLAGS) -c -o $@ $<

$(BUILD)/common/conformance.o: FLAGS += -DPORT_NAME='"$(BOARD)"'
$(BUILD)/conformance.elf: $(call objects,common/conformance.c $(SHARED)) $(BUILD)/suite.o \
    $(BUILD)/suite_sha256.o $(CONFORMANCE:%=$(BUILD)/conformance/%.o) $(LIBRARY) $(LAYOUTS)
	$(CC) $(FLAGS) $(LINK) -o $@ $(filter %.o %.a,$^) $(LIBRARIES)

$(BUILD)/faults.elf: $(call objects,common/faults.c common/image.S $(SHARED)) $(LAYOUTS)
	$(CC) $(FLAGS) $(LINK) -o $@ $(filter %.o,$^) $(LIBRARIES)

symbols: $(LIBRARY) $(if $(SCRIPT),$(BUILD)/conformance.elf)
	./symbols.sh $(NM) $^

# execute: runs PROGRAM (transcribe, listen, conformance or faults) with ARGUMENTS in the folder
# WORK, where its files lie; a board that hangs is ended. COUNTS=file: instructions by stage and
# function (plugin/).
CLIP ?= ../../ee_ref/assets/demo.wav
PROGRAM ?= conformance
WORK ?= $(BUILD)
SECONDS_ALLOWED ?= 600
comma := ,
empty :=
space := $(empty) $(empty)
SEMIHOSTING := enable=on,target=native,chardev=console,arg=$(PROGRAM)$(subst \
    $(space),,$(ARGUMENTS:%=,arg=%))

PLUGIN := $(OUT)/plugin/ee_count.so
# name@function: entering the function begins the stage.
OPEN := open@ee_image_open$(if $(filter yes,$(INSTALLED)),_installed)
STAGES_listen := $(OPEN) listen@ee_stream_open report@report
STAGES := $(OPEN) features@ee_features_s16 stem@ee_session_open \
    layers@ee_conformer_layer_qs8_c head@ee_exit_head_qs8_c policy@ee_policy_stop \
    decode@ee_greedy search@ee_phrase_search_open meaning@ee_phrases_sentence report@report
ifneq ($(PLUGINS),no)
ifneq ($(COUNTS),)
COUNTING := $(PLUGIN) $(BUILD)/$(PROGRAM).map
COUNT := -plugin $(PLUGIN),map=$(BUILD)/$(PROGRAM).map,out=$(COUNTS)$(subst \
    $(space),,$(patsubst %,$(comma)stage=%,$(or $(STAGES_$(PROGRAM)),$(STAGES))))
endif
endif

execute: $(BUILD)/$(PROGRAM).elf $(COUNTING)
	cd $(WORK) && timeout $(SECONDS_ALLOWED) $(call EMULATE,$(abspath $<)) </dev/null

# command: builds PROGRAM and prints what runs it, for `ee-ref conformance run --qemu`. Its stdin
# and stdout are the program's to open as files; the emulator must not read them for a console.
command: $(BUILD)/$(PROGRAM).elf
	echo '$(call EMULATE,$(abspath $<))' | \
	    sed 's/-chardev stdio,id=console//; s/chardev=console,//'

# conformance: the suite, judged by the host.
conformance: $(BUILD)/conformance.elf
	cd ../.. && $(PYTHON) -m ee_ref conformance run --qemu $(BOARD) $(if $(ISA),--isa $(ISA)) \
	    $(if $(WRONG),--wrong $(WRONG)) $(if $(SELECT),--select '$(SELECT)') \
	    --make OUT='$(OUT)' --make LAYOUT='$(LAYOUT)' --make PYTHON='$(PYTHON)'

# run, listen: samples to text, or to events, with what it took.
run: PROGRAM := transcribe
listen: PROGRAM := listen
run listen: $(BUILD)/transcribe.elf $(BUILD)/listen.elf
	cp '$(CLIP)' $(BUILD)/clip.wav
	rm -f $(BUILD)/counts.txt
	$(MAKE) --no-print-directory execute PROGRAM=$(PROGRAM) WORK=$(BUILD) \
	    ARGUMENTS='clip=clip.wav $(POLICY)' COUNTS=$(BUILD)/counts.txt >$(BUILD)/console.txt || \
	    { cat $(BUILD)/console.txt; exit 1; }
	echo 'board: $(BOARD), $(LAYOUT)'
	awk -f report.awk $(BUILD)/console.txt $$(ls $(BUILD)/counts.txt 2>/dev/null)

$(BUILD)/%.map: $(BUILD)/%.elf
	$(NM) -S --defined-only $< >$@

$(PLUGIN): plugin/ee_count.c
	mkdir -p $(@D)
	cc -std=gnu99 -O2 -Wall -Wextra -shared -fPIC -fvisibility=hidden -o $@ $<
