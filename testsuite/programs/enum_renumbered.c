// An enumerator gets another number while a stored one keeps the old: reported, and refused until a person has looked.
//#Hazard: D7
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: refuse HP0502
//#Call: name 0
//#Call: name 1
#include "scenario.h"

#ifdef NEW
enum state { IDLE, WAITING, BUSY };
#else
enum state { IDLE, BUSY };
#endif

NOINLINE const char *name(enum state state) {
    switch (state) {
    case IDLE:
        return "idle";
    case BUSY:
        return "busy";
#ifdef NEW
    case WAITING:
        return "waiting";
#endif
    }
    return "?";
}

void command(const char *line) {
    if (!strncmp(line, "name ", 5))
        puts(name((enum state)atoi(line + 5)));
}
