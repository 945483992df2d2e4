// A library with an unwinder linked into it.
typedef int callback(int);

static int thrower(int x) {
    if (x > 1)
        throw x;
    return x;
}

extern "C" int throws(int (*through)(callback *, int), int x) {
    try {
        return through(thrower, x);
    } catch (int) {
        return -1;
    }
}
