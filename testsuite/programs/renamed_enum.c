// An enumeration gets another name, and its constants other values, while a variable holds one of the old ones.
//#Hazard: D7
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie
//#Expect: refuse HP0502
//#Call: state
#include "scenario.h"

#ifdef NEW
enum phase { IDLE, CLOSING, BUSY, DONE };
#else
enum state { IDLE, BUSY, DONE };
#endif

static int now = BUSY;

NOINLINE const char *word(void) {
#ifdef NEW
    static const char *const words[] = {"idle", "closing", "busy", "done"};
    return words[(enum phase)now & 3];
#else
    static const char *const words[] = {"idle", "busy", "done", "?"};
    return words[(enum state)now & 3];
#endif
}

void command(const char *line) {
    if (!strcmp(line, "state"))
        printf("%s\n", word());
}
