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

// Without a call, so that it is replaced although the unwinder can't be told of its frame.
extern "C" __attribute__((noinline)) int leaf(int x) {
#ifdef NEW
    return x * x + 7 * x - 1;
#else
    return x + 1;
#endif
}
