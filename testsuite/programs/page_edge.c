// The first five bytes of the function lie on two pages, so both are written.
//#Hazard: S6
//#Matrix: opt=-O0,-O2 kind=pie,nopie
//#Flags: -falign-functions=1 -Wl,--section-start=.edge=0x20ffd
//#Expect: live
//#Call: edge 3
#include "scenario.h"

__attribute__((noinline, section(".edge"))) int edge(int x) {
#ifdef NEW
    return x * 5 + 100;
#else
    return x * 3 + 1;
#endif
}

void command(const char *line) {
    int n;
    if (sscanf(line, "edge %d", &n) == 1)
        printf("%d, %lu bytes before the page's end\n", edge(n), 4096 - (unsigned long)edge % 4096);
}
