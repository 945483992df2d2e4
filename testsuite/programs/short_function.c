// Functions shorter than a jump, without padding between them: the neighbour's bytes must stay.
//#Hazard: S9
//#Matrix: cc=gcc,clang opt=-Os,-O2 kind=pie,nopie,shared
//#Expect: safe
//#Call: go
#include "scenario.h"

#ifdef __clang__
#define KEEP __attribute__((noinline, optnone))
#else
#define KEEP __attribute__((noipa))
#endif
KEEP int before(void) {
    return 0;
}
KEEP int changed(void) {
#ifdef NEW
    return 7;
#else
    return 0;
#endif
}
KEEP int after(void) {
    return 0;
}
KEEP int more(void) {
    return 0;
}

void command(const char *line) {
    if (!strcmp(line, "go"))
        printf("%d %d %d %d\n", before(), changed(), after(), more());
}
