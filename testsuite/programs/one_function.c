// One function's arithmetic changes; everything around it moves.
//#Hazard: C1,C2,C20
//#Matrix: cc=gcc,clang opt=-O0,-O1,-O2,-O3,-Os kind=pie,nopie,shared dwarf=4,5 ld=bfd,gold,lld,mold
//#Expect: live
//#Call: price 1
//#Call: price 12
//#Call: price 250
#include "scenario.h"

NOINLINE int discount(int amount) {
#ifdef NEW
    if (amount > 100)
        return amount / 10 + 5;
    return amount > 10 ? 1 : 0;
#else
    return amount / 10;
#endif
}

NOINLINE int price(int amount) {
    int total = 0;
    for (int i = 0; i < amount; i++)
        total += 3 + (i & 1);
    return total - discount(amount);
}

void command(const char *line) {
    int amount = 0;
    if (sscanf(line, "price %d", &amount) == 1)
        printf("%d\n", price(amount));
}
