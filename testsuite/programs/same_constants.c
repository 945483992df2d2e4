// Constant tables of one name in several functions, of which some come, some go and one moves into a function of another name: they have no
// state, so which is which matters only by what they hold. The variable of that name keeps its value.
//#Hazard: C4,D1,D4
//#Matrix: cc=gcc,clang opt=-O1,-O2 kind=pie,nopie,shared
//#Expect: live
//#Warm: count
//#Warm: count
//#Call: decimal 7
//#Call: hexadecimal 11
//#Call: octal 6
//#After: count => 3
//#Reverted: count => 4
#include "scenario.h"

NOINLINE int decimal(int i) {
    static const char digits[] = "0123456789";
    return digits[i % 10];
}

#ifdef NEW
NOINLINE static int octal_digit(int i) {
    static const char digits[] = "01234567";
    return digits[i & 7];
}

NOINLINE static int upper(int i) {
    static const char digits[] = "0123456789ABCDEF";
    return digits[i & 15];
}

NOINLINE int octal(int i) { return octal_digit(i) + 1; }
NOINLINE int hexadecimal(int i) { return upper(i); }
#else
NOINLINE static int lower(int i) {
    static const char digits[] = "0123456789abcdef";
    return digits[i & 15];
}

NOINLINE int octal(int i) {
    static const char digits[] = "01234567";
    return digits[i & 7];
}
NOINLINE int hexadecimal(int i) { return lower(i); }
#endif

NOINLINE int count(void) {
    static int digits = 0;
    return ++digits;
}

void command(const char *line) {
    int i;
    if (sscanf(line, "decimal %d", &i) == 1)
        printf("%d\n", decimal(i));
    else if (sscanf(line, "hexadecimal %d", &i) == 1)
        printf("%d\n", hexadecimal(i));
    else if (sscanf(line, "octal %d", &i) == 1)
        printf("%d\n", octal(i));
    else if (!strcmp(line, "count"))
        printf("%d\n", count());
}
