// Numbers at fixed addresses that can only be addresses: tails of texts and names of functions as arguments, a place in front of an array beside
// an index, the end of what a loop walks.
//#Hazard: C16
//#Matrix: cc=gcc,clang opt=-O1,-O2,-Os kind=nopie
//#Expect: live
//#Call: judge -3
//#Call: judge 3
//#Call: last abcdef
//#Call: sum 4
#include "scenario.h"
#include <string.h>

#ifdef NEW
static const char first[] = "a text in front, by which everything moves";
#endif
static int numbers[24] = {1, 2, 3, 4};
static char line[80];

// Others may call it: its arguments are where the psABI has them.
NOINLINE void report(const char *function, const char *what) {
    printf("%s: %s\n", function, what);
}

NOINLINE void judge(int n) {
#ifdef NEW
    if (n == 3)
        puts(first);
#endif
    if (n < 0) {
        report(__func__, "out of range");
        puts("range");
    } else {
        report(__func__, "a number within its range");
        puts("its range");
    }
}

NOINLINE int last(const char *text) {
    size_t n = strlen(text) & 63;
    memcpy(line, text, n);
    line[n] = 0;
#ifdef NEW
    if (n > 5 && line[n - 5] == 'b')
        puts("b");
#endif
    return n < 4 ? -1 : line[n - 2] + line[n - 4];
}

NOINLINE int sum(int n) {
    int total = n;
    for (int *p = numbers; p != numbers + sizeof numbers / sizeof *numbers; p++)
        total += *p;
#ifdef NEW
    total *= 2;
#endif
    return total;
}

void command(const char *text) {
    int n;
    char word[32];
    if (sscanf(text, "judge %d", &n) == 1)
        judge(n);
    if (sscanf(text, "last %31s", word) == 1)
        printf("%d\n", last(word));
    if (sscanf(text, "sum %d", &n) == 1)
        printf("%d\n", sum(n));
}
