// Variables in which the process has something give way to others that may be the same: members of a structure, a wider one in a new function,
// one in each thread, another one in each thread, one in another unit.
//#Hazard: D1,D9
//#Units: 2
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,shared cflags=-DGROUPED,-DWIDER,-DWIDER+-DBY_LINKER,-DTO_THREAD,-DIN_THREAD,-DUNIT_OTHER
//#Unwritten: HP0614
//#Expect: start
//#Call: show
#include "scenario.h"

#ifndef UNIT
#define UNIT 1
#endif

int elsewhere(void);

#ifdef NEW
#define BY 2
#else
#define BY 1
#endif

#if UNIT == 1

#ifdef GROUPED
#ifdef NEW
static struct {
    int users, failed;
    long bytes;
} all;
#define USERS all.users
#define FAILED all.failed
#define BYTES all.bytes
#else
static int users, failed;
static long bytes;
#define USERS users
#define FAILED failed
#define BYTES bytes
#endif
NOINLINE long enter(void) {
    FAILED += BY;
    BYTES += 100;
    return ++USERS + FAILED + BYTES;
}
#endif

#ifdef WIDER
#ifdef NEW
#ifdef BY_LINKER
long all_users;
long next(void);
#else
static long all_users;
static
#endif
NOINLINE long next(void) {
    return ++all_users;
}
NOINLINE long enter(void) {
    return next() + 1;
}
#else
static int users;
NOINLINE long enter(void) {
    return ++users;
}
#endif
#endif

#ifdef TO_THREAD
#ifdef NEW
static __thread int users;
#else
static int users;
#endif
NOINLINE long enter(void) {
    return users += BY;
}
#endif

#ifdef IN_THREAD
#ifdef NEW
#define USERS depth
#else
#define USERS level
#endif
__thread int USERS;
NOINLINE long enter(void) {
    return USERS += BY;
}
#endif

#ifdef UNIT_OTHER
#ifdef NEW
#define enter() elsewhere()
#else
static int users;
NOINLINE long enter(void) {
    return ++users;
}
#endif
#endif

void command(const char *line) {
    if (!strcmp(line, "show"))
        printf("%ld\n", (long)enter());
}

#elif defined UNIT_OTHER && defined NEW
static int users_there;
NOINLINE int elsewhere(void) {
    return users_there += BY;
}
#else
int other_unit(void) {
    return UNIT;
}
#endif
