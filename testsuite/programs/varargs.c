// A variadic function, with floating-point arguments in vector registers.
//#Hazard: C1
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared
//#Expect: live
//#Call: go
#include "scenario.h"
#include <stdarg.h>

NOINLINE void report(const char *prefix, const char *format, ...) {
    char text[200];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
#ifdef NEW
    printf("[%s] %s (%zu)\n", prefix, text, strlen(text));
#else
    printf("%s: %s\n", prefix, text);
#endif
}

void command(const char *line) {
    if (!strcmp(line, "go")) {
        report("a", "%d %s %.2f %ld %c %.1f %.1f", 1, "two", 3.25, 4L, '5', 6.5, 7.5);
        report("b", "%d %d %d %d %d %d %d %d", 1, 2, 3, 4, 5, 6, 7, 8);
        report("c", "none");
    }
}
