// Virtual functions change places: the tables keep their size and are rewritten where they are, so that live objects and new code agree.
//#Hazard: D8
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Flags: -fvisibility=hidden
//#Expect: live
//#Expect[kind=nopie]: safe
//#Warm: go
//#Call: go
//#After: go => 321
//#Reverted: go => 123
#include "scenario.h"

struct Base {
    virtual ~Base() {}
#ifdef NEW
    virtual int last() { return 9; }
    virtual int second() { return 2; }
    virtual int first() { return 1; }
#else
    virtual int first() { return 1; }
    virtual int second() { return 2; }
    virtual int last() { return 9; }
#endif
};
struct Derived : Base {
    int last() override { return 3; }
};

static Base *object;

NOINLINE int total(Base *base) {
    OPAQUE(base);
#ifdef NEW
    return 100 * base->last() + 10 * base->second() + base->first();
#else
    return 100 * base->first() + 10 * base->second() + base->last();
#endif
}

extern "C" __attribute__((visibility("default"))) void command(const char *line) {
    if (!object)
        object = new Derived;
    if (!strcmp(line, "go"))
        printf("%d\n", total(object));
}
