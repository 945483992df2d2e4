// The changed function is suspended on a stack that no thread runs on, and that the program went to by code of its own.
//#Hazard: S2
//#Expect: live
//#Call: value
#include "scenario.h"
#include <stdint.h>

// Saves what a call keeps, gives the stack pointer to `*from`, and goes on where `to` was left.
#define SWITCH(binding) \
    __asm__(binding " switch_to\n.type switch_to, @function\n" \
            "switch_to:\n.cfi_startproc\n" \
            "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n" \
            "mov %rsp, (%rdi)\nmov %rsi, %rsp\n" \
            "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n" \
            ".cfi_endproc\n.size switch_to, . - switch_to\n")

#if defined LIBRARY
#if defined BARE
// Without frame tables, and with a shadow stack seen to: it goes on by a call, not by a return.
__asm__(".globl switch_to\n.type switch_to, @function\n"
        "switch_to:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "xor %ecx, %ecx\nrdsspq %rcx\ntest %rcx, %rcx\njz 1f\nmov $1, %edx\nincsspq %rdx\n"
        "1: call go_on\nud2\n.size switch_to, . - switch_to\n"
        ".local go_on\n.type go_on, @function\n"
        "go_on:\nadd $8, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size go_on, . - go_on\n");
#else
SWITCH(".globl");
#endif
#else
#if defined ELSEWHERE
// In a library of which the bundle knows nothing.
#include <dlfcn.h>
static void (*switch_to)(void **from, void *to);
#else
void switch_to(void **from, void *to);
SWITCH(".local");
#endif

static void *home, *inside;
static char *stack;
static int result;

NOINLINE int value(int x, int suspend) {
    if (suspend)
        switch_to(&inside, home);
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void body(void) {
    result = value(1, 1);
    switch_to(&inside, home);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1, 0));
    if (!strcmp(line, "suspend")) {
        stack = malloc(64 * 1024);
        void **top = (void **)((uintptr_t)(stack + 64 * 1024) & ~(uintptr_t)15) - 1;
        *--top = (void *)body;
        inside = top - 6;
        switch_to(&home, inside);
        puts("suspended");
    }
    if (!strcmp(line, "resume")) {
        switch_to(&home, inside);
        printf("%d\n", result);
        memset(stack, 0, 64 * 1024);
        free(stack);
    }
#if defined ELSEWHERE
    if (!strncmp(line, "library ", 8)) {
        void *library = dlopen(line + 8, RTLD_NOW);
        *(void **)&switch_to = library ? dlsym(library, "switch_to") : NULL;
        puts(switch_to ? "loaded" : "not found");
    }
#endif
}
#endif
