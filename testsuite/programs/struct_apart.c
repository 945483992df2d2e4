// A static struct that clang takes apart into its members, each at a place of its own (DWARF 5, 2.6.1.2): whichever way the debug
// information gives these places, split units of DWARF 4 by GNU's operation, they stay the same members.
//#Hazard: D1
//#Matrix: debug=plain,split cc=gcc,clang opt=-O1,-O2 kind=pie,shared dwarf=4,5
//#Expect: live
//#Warm: note 5
//#Warm: note 300
//#Call: limit
//#After: note 300 => -413
//#After: note 7 => 312
//#After: show => 3 notes 312 sum 1 errors
//#Reverted: note 300 => 612
#include "scenario.h"

static struct {
    unsigned long notes, sum, errors;
} stats;

NOINLINE static long fail(int code) {
    stats.errors++;
    return -code;
}

NOINLINE static long note(long value) {
#ifdef NEW
    if (value > 256) {
        return fail(413);
    }
#endif
    if (value < 0) {
        return fail(400);
    }
    stats.notes++;
    stats.sum += (unsigned long)value;
    return (long)stats.sum;
}

NOINLINE static void show(void) {
    printf("%lu notes %lu sum %lu errors\n", stats.notes, stats.sum, stats.errors);
}

void command(const char *line) {
    long value;
    if (sscanf(line, "note %ld", &value) == 1) {
        printf("%ld\n", note(value));
    } else if (!strcmp(line, "limit")) {
#ifdef NEW
        puts("256");
#else
        puts("none");
#endif
    } else if (!strcmp(line, "show")) {
        show();
    }
}
