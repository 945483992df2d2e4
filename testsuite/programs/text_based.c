// At fixed addresses a text is indexed by a character less a constant, so that the code's displacement leads to something else, or to nothing. The text
// changes, or only the code does.
//#Hazard: C16,C17
//#Matrix: cc=gcc,clang opt=-O2 kind=nopie ld=bfd,lld,mold cflags=-DTEXT,-DBOTH,-DCODE
//#Expect: safe
//#Expect[cflags=-DCODE]: live
//#Call: place f
//#Call: place b
#include "scenario.h"

#if defined NEW && !defined CODE
#define PLACES "abcdeXgh"
#else
#define PLACES "abcdefgh"
#endif

NOINLINE int place(long c) {
    if (c < 'a' || c > 'h')
        return -1;
#if defined NEW && !defined TEXT
    return PLACES[c - 'a'] * 3;
#else
    return PLACES[c - 'a'];
#endif
}

void command(const char *line) {
    if (strlen(line) == 7)
        printf("%d\n", place(line[6]));
}
