// Sleeps in calls that the kernel goes on with after an interruption by its own memory of them, and in such as end early by one.
//#Hazard: S5,S13
//#Expect: live
//#Call: value
//#Flags: -pthread
#define _GNU_SOURCE
#include "scenario.h"
#include "threads.h"
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int interrupted;
static atomic_long written;
static int ends[2];

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void *serves(void *unused) {
    char line[512];
    puts("done\n.");
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        command(line);
        puts(".");
    }
    exit(0);
    return unused;
}

// Half a second long.
static void *drains(void *unused) {
    static char bytes[65536];
    while (read(ends[0], bytes, sizeof bytes) > 0)
        usleep(32000);
    return unused;
}

static void *writes(void *bytes) {
    atomic_store(&written, write(ends[1], bytes, 1 << 20));
    return NULL;
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "serve elsewhere")) {
        start_thread(serves, NULL);
        for (;;)
            if (poll(NULL, 0, 60000))
                atomic_fetch_add(&interrupted, 1);
    }
    if (!strcmp(line, "write")) {
        atomic_store(&written, 0);
        if (pipe(ends))
            abort();
        start_thread(writes, calloc(1, 1 << 20));
        start_thread(drains, NULL);
        usleep(20000);
    }
    if (!strcmp(line, "written")) {
        while (!atomic_load(&written))
            usleep(1000);
        printf("%ld\n", atomic_load(&written));
    }
    if (!strcmp(line, "interrupted"))
        printf("%d\n", atomic_load(&interrupted));
}
