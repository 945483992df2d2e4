// Texts that a linker merges lie among others to which nothing refers any more (the code compares with numbers in place of them), and all are
// put in another order when one of them changes.
//#Hazard: C1,C17
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,nopie,shared ld=mold
//#Most: 1
//#Expect: live
//#Call: greet you
//#Call: kept 0
//#Call: tail 0
#include "scenario.h"

#ifdef NEW
#define GREETING "a longer greeting for %s, who is given all of the morning\n"
#else
#define GREETING "hello %s\n"
#endif
NOINLINE void greet(const char *who) { printf(GREETING, who); }

NOINLINE void kept(int n) {
    printf("kept: %d\n", n);
    fputs("as is\n", stdout);
}

NOINLINE void tail(int n) {
    fputs(n ? "\n" : "one\n", stdout);
    fputs("\n", stdout);
}

void command(const char *line) {
    const char *rest = strchr(line, ' ');
    rest = rest ? rest + 1 : "";
    if (strncmp(line, "greet ", 6) == 0)
        greet(rest);
    else if (strcmp(line, "kept 0") == 0)
        kept(4);
    else if (strcmp(line, "tail 0") == 0)
        tail(0);
    else if (strcmp(line, "never") == 0)
        puts("or");
}
