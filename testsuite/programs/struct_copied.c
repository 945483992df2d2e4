// Instances of a structure are in frames only, but their bytes go through a queue, a pipe, or what another library keeps: what is in there when the
// patch comes has the old form. A library's function that takes something else of it doesn't matter, where that is declared.
//#Hazard: D6
//#Matrix: cc=gcc,clang opt=-O2,-O0 kind=pie,shared cflags=-DQUEUE,-DWRITABLE,-DSLOT,-DPIPE,-DLENT,-DFOREIGN,-DSUMMED
//#Flags: -l:libz.so.1
//#Expect: start
//#Expect[cflags=-DSUMMED]: live
//#Expect[cflags=-DSUMMED,cc=clang,opt=-O0]: start
//#Call: one 3
//#Call: one 4
#include "scenario.h"
#include <unistd.h>

// zlib's.
typedef struct zipped *zipped;
zipped gzdopen(int file, const char *mode);
int gzwrite(zipped to, const void *bytes, unsigned size);
int gzread(zipped from, void *bytes, unsigned size);
int gzclose(zipped file);
unsigned long crc32(unsigned long sum, const unsigned char *bytes, unsigned size);

struct message {
#ifdef NEW
    int serial, value;
#else
    int value, serial;
#endif
};

static char queue[4096];
static unsigned in, out;

#if defined WRITABLE || defined SLOT
#define BYTES void *
#else
#define BYTES const void *
#endif

#ifdef SLOT
NOINLINE void *
#else
NOINLINE void
#endif
push(char *to, BYTES bytes, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        to[(in + i) % sizeof queue] = ((const char *)bytes)[i];
    in += size;
#ifdef SLOT
    return to + in;
#endif
}

NOINLINE void pull(void *bytes, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        ((char *)bytes)[i] = queue[(out + i) % sizeof queue];
    out += size;
}

static int ends[2];
#ifdef SUMMED
static int last;
#endif

#ifdef LENT
static NOINLINE void hand_over(const struct message *m) { push(queue, m, sizeof *m); }
#endif

NOINLINE void put(int x) {
    struct message m = {.value = x, .serial = 1000};
#ifdef LENT
    hand_over(&m);
#elif defined PIPE
    if (write(ends[1], &m, sizeof m) != sizeof m)
        abort();
#elif defined FOREIGN
    lseek(ends[1], 0, SEEK_SET);
    zipped to = gzdopen(dup(ends[1]), "w");
    if (gzwrite(to, &m, sizeof m) != sizeof m || gzclose(to) != 0)
        abort();
#elif defined SUMMED
    last = (int)(crc32(0, (const unsigned char *)&m, sizeof m) % 1000);
#else
    push(queue, &m, sizeof m);
#endif
}

NOINLINE int get(void) {
    struct message m;
#ifdef PIPE
    if (read(ends[0], &m, sizeof m) != sizeof m)
        abort();
#elif defined FOREIGN
    lseek(ends[1], 0, SEEK_SET);
    zipped from = gzdopen(dup(ends[1]), "r");
    if (gzread(from, &m, sizeof m) != sizeof m || gzclose(from) != 0)
        abort();
#elif defined SUMMED
    m.value = m.serial = last;
#else
    pull(&m, sizeof m);
#endif
#ifdef NEW
    return m.value + m.serial;
#else
    return m.value;
#endif
}

void command(const char *line) {
    int x;
#ifdef FOREIGN
    if (!ends[1])
        ends[1] = fileno(tmpfile());
#endif
    if (!ends[1] && pipe(ends))
        abort();
    if (sscanf(line, "one %d", &x) == 1) {
        put(x);
        printf("%d\n", get());
    }
}
