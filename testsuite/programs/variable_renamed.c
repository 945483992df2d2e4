// A variable gets another name: the process has a value in the old one.
//#Hazard: D1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie
//#Expect: start
//#Call: show
#include "scenario.h"

#ifdef NEW
#define LIMIT 101
#define USERS users_now
#else
#define LIMIT 100
#define USERS users
#endif

static int USERS;

NOINLINE void enter(void) {
    USERS++;
    if (USERS > LIMIT)
        puts("full");
}

void command(const char *line) {
    enter();
    if (!strcmp(line, "show"))
        printf("%d of %d\n", USERS, LIMIT);
}
