// A static program that throws: its own unwinder can't be told of new code, so that a function that makes calls isn't replaced.
//#Hazard: C8
//#Matrix: kind=static,static-pie ld=bfd,lld
//#Expect: refuse HP0523
//#Call: area -2
#include "scenario.h"
#include <stdexcept>

NOINLINE static int checked(int side) {
    if (side < 0)
        throw std::domain_error("negative");
    return side * side;
}

NOINLINE static int area(int side) {
#ifdef NEW
    return checked(side) + 1000;
#else
    return checked(side);
#endif
}

void command(const char *line) {
    int side;
    if (sscanf(line, "area %d", &side) == 1)
        try {
            printf("%d\n", area(side));
        } catch (const std::domain_error &e) {
            printf("%s\n", e.what());
        }
}
