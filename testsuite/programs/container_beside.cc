// A second container at file scope lies beside the first, in a function that uses both: its address can't be the first one's end, nor a member's place
// the second one's, counted on from there.
//#Hazard: D1,D2
//#Matrix: cc=gcc,clang opt=-O2,-O1,-O0 kind=pie,nopie,shared
//#Expect: safe
//#Call: add one
//#Call: add two
#include "scenario.h"
#include <map>
#include <vector>

static std::map<int, int> seen;
#ifdef NEW
static std::map<int, int> last;
#endif
static std::vector<int> order;
#ifdef NEW
static std::vector<int> lengths;
#endif

static NOINLINE void add(const char *name) {
    seen[name[0]]++;
    order.push_back(name[0]);
#ifdef NEW
    last[name[0]] += (int)strlen(name);
    lengths.push_back(last[name[0]]);
    printf("%zu %zu\n", last.size(), lengths.size());
#endif
    printf("%zu %zu\n", seen.size(), order.size());
}

void command(const char *line) {
    if (!strncmp(line, "add ", 4))
        add(line + 4);
}
