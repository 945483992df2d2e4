// A class gains a virtual function in the middle: live objects carry the old table.
//#Hazard: D8
//#Matrix: cc=gcc,clang opt=-O2 kind=pie,shared
//#Expect: safe
//#Call: go
#include "scenario.h"

struct Base {
    virtual ~Base() {}
    virtual int first() { return 1; }
#ifdef NEW
    virtual int added() { return 50; }
#endif
    virtual int last() { return 3; }
};
struct Derived : Base {
    int last() override { return 30; }
};

static Base *object;

NOINLINE int total(Base *base) {
#ifdef NEW
    return base->first() + base->added() + base->last();
#else
    return base->first() + base->last();
#endif
}

extern "C" void command(const char *line) {
    if (!object)
        object = new Derived;
    if (!strcmp(line, "go"))
        printf("%d\n", total(object));
}
