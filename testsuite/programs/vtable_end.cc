// A class with virtual bases and no virtual function: its objects point to the end of its vtable, where something else begins, in each build
// another thing.
//#Hazard: C1,D8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie
//#Expect: safe
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
