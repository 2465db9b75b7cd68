/* A QEMU plugin that counts the instructions that a program executes, and writes the count at each
   mark: a call of the kernel that the program makes for nothing else.

   Arguments: mark=NUMBER of the system call, -1 for the end of the program alone; out=FILE that gets
   one decimal count per line.

   Interface: https://www.qemu.org/docs/master/devel/tcg-plugins.html. QEMU's packages come without
   its header, so the functions used are declared here. Those are the same since QEMU 4.2. */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct block;
enum registers { NO_REGISTERS };

size_t qemu_plugin_tb_n_insns(const struct block *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *, void (*)(unsigned, void *),
                                          enum registers, void *);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int qemu_plugin_version = PLUGIN_VERSION;

static uint64_t instructions; /* of all threads */
static int64_t mark;
static FILE *out;

/* A block runs from its first instruction to its last, without a branch between them. */
static void block_executed(unsigned cpu, void *size) {
  __atomic_fetch_add(&instructions, (uintptr_t)size, __ATOMIC_RELAXED);
}

static void block_translated(plugin_id id, struct block *block) {
  void *size = (void *)(uintptr_t)qemu_plugin_tb_n_insns(block);
  qemu_plugin_register_vcpu_tb_exec_cb(block, block_executed, NO_REGISTERS, size);
}

static void system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b,
                        uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  if (number == mark) fprintf(out, "%" PRIu64 "\n", instructions);
}

static void finish(plugin_id id, void *unused) {
  if (mark < 0) fprintf(out, "%" PRIu64 "\n", instructions);
  fclose(out);
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  for (int i = 0; i < count; i++) {
    if (!strncmp(arguments[i], "mark=", 5)) mark = atoll(arguments[i] + 5);
    if (!strncmp(arguments[i], "out=", 4)) out = fopen(arguments[i] + 4, "w");
  }
  if (!mark || !out) {
    fputs("count plugin: mark=NUMBER and out=FILE are needed\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_call);
  qemu_plugin_register_atexit_cb(id, finish, NULL);
  return 0;
}
