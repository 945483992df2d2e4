// An earlier call of the changed function left the address that it returned to in room which is part of a live frame now, but not written to:
// of a thread that waits in a system call below functions of the C library, and of a signal handler on a stack of its own.
// Bound at the start: a call that is bound when it is made writes over that room, how far depends on the processor's registers.
//#Hazard: S1,S2
//#Expect: live
//#Flags: -pthread -Wl,-z,now
//#Call: value
#include "asleep.h"
#include "scenario.h"
#include "threads.h"
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static volatile int zero;
static int lines[2], bytes[2];
static atomic_int waiting;
static char alternate[64 * 1024];

NOINLINE int plus(int x, int y) {
    return x + y + zero;
}

NOINLINE int value(int x) {
#ifdef NEW
    return plus(x, 100) - zero;
#else
    return plus(x, 1) - zero;
#endif
}

// Leaves the address that `plus` returned to on the stack...
NOINLINE void deep(void) {
    volatile char far[1024];
    far[0] = 1;
    zero = value(1) * zero;
}

// ...where these have room that they don't write to while they wait.
NOINLINE void wait_for_line(FILE *from) {
    char line[4096];
    atomic_fetch_add(&waiting, 1);
    if (fgets(line, sizeof line, from))
        atomic_fetch_sub(&waiting, 1);
}

NOINLINE void wait_for_byte(void) {
    char line[4096];
    atomic_fetch_add(&waiting, 1);
    if (read(bytes[0], line, 1) == 1)
        atomic_fetch_sub(&waiting, 1);
}

static void handle(int signal) {
    (void)signal;
    deep();
    wait_for_byte();
}

static void *below_stdio(void *unused) {
    (void)unused;
    FILE *from = fdopen(lines[0], "r");
    deep();
    wait_for_line(from);
    return NULL;
}

static void *in_handler(void *unused) {
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL))
        abort();
    raise(SIGUSR1);
    return unused;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "wait")) {
        if (pipe(lines) || pipe(bytes))
            abort();
        start_thread(below_stdio, NULL);
        start_thread(in_handler, NULL);
        while (waiting < 2)
            usleep(100);
        until_others_sleep();
        puts("waits");
    }
    if (!strcmp(line, "go")) {
        if (write(lines[1], "x\n", 2) != 2 || write(bytes[1], "x", 1) != 1)
            abort();
        while (waiting)
            usleep(100);
        puts("goes on");
    }
}
