// A virtual function changes; objects made before the patch call the new one.
//#Hazard: D8,C18
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: make
//#Call: area
#include "scenario.h"

struct Shape {
    virtual ~Shape() {}
    virtual int area() const = 0;
    virtual const char *name() const { return "shape"; }
};

struct Square : Shape {
    int side = 4;
    int area() const override;
    const char *name() const override { return "square"; }
};

NOINLINE int Square::area() const {
#ifdef NEW
    return side * side;
#else
    return side + side;
#endif
}

static Shape *shape;

extern "C" void command(const char *line) {
    if (!shape)
        shape = new Square;
    if (!strcmp(line, "area"))
        printf("%s %d\n", shape->name(), shape->area());
}
