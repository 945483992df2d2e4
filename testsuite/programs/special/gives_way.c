// A function that calls another one within its first five bytes, where a detour would be. ONE changes it, TWO another function.
//#Hazard: S1,S13
//#Flags: -pthread
//#Expect: live
//#Call: value
#include "asleep.h"
#include "scenario.h"
#include <pthread.h>
#include <unistd.h>

static int gate[2];
static volatile int left = 1, waits;

static NOINLINE int waited(void) {
    char byte;
    return waits && read(gate[0], &byte, 1) != 1 ? -1 : 10;
}

__attribute__((naked, noinline)) static int through(int (*called)(void)) {
    __asm__("push %rbx\n"
            ".cfi_adjust_cfa_offset 8\n"
            ".cfi_rel_offset %rbx, 0\n"
            "call *%rdi\n"
            "pop %rbx\n"
            ".cfi_adjust_cfa_offset -8\n"
            ".cfi_restore %rbx\n"
#ifdef ONE
            "add $1, %eax\n"
#endif
            "nopl 0(%rax)\n"
            "ret");
}

NOINLINE int other(int x) {
    OPAQUE(x);
#ifdef TWO
    return x + 200;
#else
    return x + 100;
#endif
}

static int (*volatile passing)(int (*)(void)) = through;

static void *waiter(void *unused) {
    (void)unused;
    left = passing(waited);
    return NULL;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d %d\n", passing(waited), other(0));
    if (!strcmp(line, "enter")) {
        pthread_t thread;
        left = 0;
        waits = 1;
        if (pipe(gate) || pthread_create(&thread, NULL, waiter, NULL))
            abort();
        pthread_detach(thread);
        until_others_sleep();
        waits = 0;
    }
    if (!strcmp(line, "leave")) {
        if (write(gate[1], "x", 1) != 1)
            abort();
        for (int i = 0; i < 2000 && !left; i++)
            usleep(1000);
        printf("%d\n", left);
    }
}
