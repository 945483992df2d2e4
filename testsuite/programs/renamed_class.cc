// A class gets another name, and its virtual functions another order; only untyped pointers know its instances. Without virtual functions a name is all.
//#Hazard: D6,D8
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie cflags=-DORDER,-DPLAIN
//#Expect: start
//#Expect[cflags=-DPLAIN]: live
//#Call: draw 3
//#Call: draw 4
#include "scenario.h"

#ifdef NEW
#define Shape Figure
#endif

#ifdef ORDER
#define VIRTUAL virtual
struct Object {
    virtual ~Object() {}
};
#else
#define VIRTUAL
struct Object {};
#endif

struct Shape : Object {
    int size = 0;
#ifdef NEW
    NOINLINE VIRTUAL int draw(int n) {
        size = n;
        return n * 100;
    }
#endif
    NOINLINE VIRTUAL int area() {
        return size * size;
    }
#ifndef NEW
    NOINLINE VIRTUAL int draw(int n) {
        size = n;
        return n * 10;
    }
#endif
};

static void *kept;

NOINLINE void *made() {
    if (!kept)
        kept = new Shape;
    return kept;
}

NOINLINE int draw(void *of, int n) {
    int drawn = static_cast<Shape *>(of)->draw(n);
    return drawn + static_cast<Shape *>(of)->area();
}

extern "C" void command(const char *line) {
    int n;
    if (sscanf(line, "draw %d", &n) == 1)
        printf("%d\n", draw(made(), n));
}
