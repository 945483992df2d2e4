// Area of a square, with an exception for a negative side.
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
