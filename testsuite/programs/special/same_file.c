// Two files of one name in two directories (`DIRECTORY`): the first has a static function and a variable, in the new build the second does.
#include "scenario.h"

typedef int (*function)(int);
extern function taken;
void second(void);

#ifdef THREADS
#define THREAD __thread
#else
#define THREAD
#endif

#if (DIRECTORY == 2) == defined NEW
static THREAD int state;
static NOINLINE int helper(int x) {
#ifdef WITHIN
    state += x;
#endif
    return DIRECTORY == 1 ? x + 100 : x * 7777;
}
#ifdef HELD
#define HOLD taken = helper
#else
#define HOLD printf("%d\n", helper(1))
#endif
#ifdef WITHIN
#define COUNT
#else
#define COUNT printf("%d\n", ++state)
#endif
#else
#define HOLD
#define COUNT
#endif

#if DIRECTORY == 1
function taken;

NOINLINE static void first(void) {
    COUNT;
    HOLD;
}

void command(const char *line) {
    if (!strcmp(line, "first"))
        first();
    if (!strcmp(line, "second"))
        second();
    if (!strcmp(line, "call"))
        printf("%d\n", taken ? taken(1) : -1);
}
#else
NOINLINE void second(void) {
    COUNT;
    HOLD;
}
#endif
