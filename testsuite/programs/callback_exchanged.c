// A stored callback gives way to another one. One that takes something else: who calls it by a pointer of no type, and is new, would give it
// that. One that reads a table that is overwritten. Neither holds of one that takes the same, nor of one whose table stays.
//#Hazard: D12,D13
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,shared cflags=-DOTHER,-DTABLE,-DALIKE,-DSAME_TABLE
//#Expect: live
//#Expect[cflags=-DOTHER]: start
//#Expect[cflags=-DTABLE]: start
//#Warm: set
//#After: call 5 => 500
//#Call: set
//#Reverted: call 5 => 500
#include "scenario.h"

typedef void (*any)(void);
static any *stored;

#ifdef OTHER
#ifdef NEW
static NOINLINE int on_event(const char *who, int n) {
    return n * 100 + (int)strlen(who);
}
NOINLINE int emit(int n) {
    return ((int (*)(const char *, int))*stored)("", n);
}
#define CALLBACK on_event
#else
static NOINLINE int on_event_only(int n) {
    return n * 100;
}
NOINLINE int emit(int n) {
    return ((int (*)(int))*stored)(n);
}
#define CALLBACK on_event_only
#endif
#else
#if defined NEW && defined TABLE
static const int rates[4] = {1000, 2000, 3000, 4000};
#define SCALE 10
#else
static const int rates[4] = {100, 200, 300, 400};
#define SCALE 1
#endif
#ifdef NEW
#define CALLBACK fee_exact
#else
#define CALLBACK fee
#endif
static NOINLINE int CALLBACK(int n) {
#ifdef ALIKE
    return n * 100;
#else
    return n * rates[n & 3 ? 0 : 1] / SCALE;
#endif
}
NOINLINE int emit(int n) {
    return ((int (*)(int))*stored)(n);
}
#endif

void command(const char *line) {
    if (!stored)
        stored = calloc(1, sizeof *stored);
    if (!strcmp(line, "set")) {
        *stored = (any)CALLBACK;
        puts("set");
    }
    if (!strncmp(line, "call ", 5))
        printf("%d\n", emit(atoi(line + 5)));
}
