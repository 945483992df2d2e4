// A program that moves its own code to anonymous memory, at the same addresses.
//#Hazard: I4
//#Expect: live
//#Call: value
#define _GNU_SOURCE
#include "scenario.h"
#include <stdint.h>
#include <sys/mman.h>

NOINLINE int value(int x) {
#ifdef NEW
    return x + 100;
#else
    return x + 1;
#endif
}

// The executable segment is what this function's mapping says that it is.
static void remap(void) {
    uintptr_t here = (uintptr_t)value, start, end;
    char line[512], rights[5];
    FILE *maps = fopen("/proc/self/maps", "r");
    int found = 0;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3 && start <= here && here < end;
    if (!found)
        abort();
    fclose(maps);
    size_t size = end - start;
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        abort();
    memcpy(copy, (void *)start, size);
    if (mprotect(copy, size, PROT_READ | PROT_EXEC))
        abort();
    if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) != (void *)start)
        abort();
    maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= here && here < end)
            puts(strchr(line, '/') ? "a file" : "no file");
    fclose(maps);
}

void command(const char *line) {
    if (!strcmp(line, "value"))
        printf("%d\n", value(1));
    if (!strcmp(line, "remap"))
        remap();
}
