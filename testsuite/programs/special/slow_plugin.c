// Loads a library whose constructor takes its time: the dynamic linker's lock is held all the while.
//#Hazard: S3,S7
//#Expect: live
//#Call: value
//#Flags: -pthread -ldl
#include "scenario.h"
#include "threads.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int loaded;
static int gate[2], told[2];

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

static void *load(void *path) {
    atomic_store(&loaded, dlopen(path, RTLD_NOW) ? 1 : -1);
    return NULL;
}

void command(const char *line) {
    static char path[512];
    char text[32], byte;
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (sscanf(line, "plugin %511s", path) == 1) {
        if (pipe(gate) || pipe(told))
            abort();
        // What the constructor writes to when it runs, and reads from until it may end.
        snprintf(text, sizeof text, "%d %d", told[1], gate[0]);
        setenv("SLOW_PLUGIN", text, 1);
        start_thread(load, path);
        if (read(told[0], &byte, 1) != 1)
            abort();
        puts("inside");
    }
    if (!strcmp(line, "loaded"))
        printf("%d\n", atomic_load(&loaded));
    if (!strcmp(line, "go on")) {
        if (write(gate[1], "x", 1) != 1)
            abort();
        while (!atomic_load(&loaded))
            usleep(1000);
        printf("%d\n", atomic_load(&loaded));
    }
}
