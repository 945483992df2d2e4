// Integers get a sign or lose one, in objects that are alive and in what functions take: what is stored, and passed, is the same.
//#Hazard: D5,D6,D12
//#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared dwarf=4,5
//#Sample: 2
//#Expect: live
//#Warm: put -7
//#Call: scale 3
//#After: get => 4294967289 249 1 65529 1 249 4294967289
//#Reverted: get => -7 -7 -1 -7 1 -7 -7
#include "scenario.h"

#ifdef NEW
#define SIGN unsigned
#define FORMAT "%u %u %u %u %ld %u %u\n"
#else
#define SIGN signed
#define FORMAT "%d %d %d %d %ld %d %d\n"
#endif

struct step {
    SIGN char width;
    long length;
};

struct object {
    struct object *next;
    SIGN int count;
    SIGN int flag : 1;
    SIGN char name[8];
    SIGN short *sizes;
    struct step steps[3];
};

static struct object *head;
static SIGN int last;

NOINLINE void put(SIGN int x) {
    struct object *o = malloc(sizeof *o);
    o->next = head;
    o->count = x;
    o->flag = x;
    o->name[1] = (SIGN char)x;
    o->sizes = malloc(2 * sizeof *o->sizes);
    o->sizes[1] = (SIGN short)x;
    o->steps[2] = (struct step){.width = (SIGN char)x, .length = 1};
    head = o;
    last = x;
}

NOINLINE SIGN int scale(SIGN int by, const SIGN char *text) {
    SIGN int sum = by;
    for (int i = 0; text[i]; i++)
        sum += text[i] % 8;
#ifdef NEW
    sum += 1000;
#endif
    return sum;
}

void command(const char *line) {
    int x;
    if (sscanf(line, "put %d", &x) == 1) {
        put((SIGN int)x);
        printf("stored\n");
    }
    if (sscanf(line, "scale %d", &x) == 1)
        printf("%d\n", (int)scale((SIGN int)x, (const SIGN char *)line));
    if (!strcmp(line, "get") && head)
        printf(FORMAT, head->count, head->name[1], head->flag, head->sizes[1], head->steps[2].length,
               head->steps[2].width, last);
}
