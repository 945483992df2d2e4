// Virtual bases change places: their distances are in the vtable, by the order in which they are declared.
//#Hazard: D6,D8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie
//#Expect: start
//#Warm: show
//#Call: show
#include "scenario.h"

struct Left {
    int left = 1;
};
struct Right {
    int right = 2;
};
#ifdef NEW
struct Both : virtual Right, virtual Left {
#else
struct Both : virtual Left, virtual Right {
#endif
    int own = 3;
    virtual int get() { return own; }
};

static Both *kept;

NOINLINE int left(Both *both) {
    return both->left;
}

NOINLINE int right(Both *both) {
#ifdef NEW
    return both->right + 100;
#else
    return both->right;
#endif
}

void command(const char *line) {
    if (!kept)
        kept = new Both;
    if (!strcmp(line, "show"))
        printf("%d %d\n", left(kept), right(kept));
}
