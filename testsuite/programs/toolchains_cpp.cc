// The same for C++: exceptions that cross patched frames, instances of a template, virtual calls, lambdas that are stored, containers.
//#Hazard: C4,C8,C12,C18,C20,C21
//#Matrix: debug=plain,split,dwp,zlib,zstd,dwz,dwz-multi,separate cc=gcc-11,gcc-12,clang-14,clang-16 opt=-O0,-O1,-O2,-O3,-Os kind=pie,nopie,shared,static,static-pie ld=bfd,gold,lld,mold lto=none,full,thin dwarf=4,5
//#Sample: 2
//#Expect: live
// As in exceptions.cc: copies of another library's type information that the old build doesn't have.
//#Expect[kind=nopie]: safe
// The C library is in the image: how linkers lay out its own tables and assembly can't always be told.
//#Expect[kind=static]: safe
//#Expect[kind=static-pie]: safe
//#Call: apply 5
//#Call: area circle 3
//#Call: area square 3
//#Call: area circle -2
//#Call: area cone 2
//#Call: most
#include "scenario.h"
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Shape {
    virtual ~Shape() = default;
    virtual long area() const = 0;
};

struct Square final : Shape {
    long side;
    explicit Square(long side) : side(side) {}
    long area() const override {
#ifdef NEW
        if (side > 1000)
            throw std::out_of_range("square");
        return side * side + 1;
#else
        return side * side;
#endif
    }
};

struct Circle final : Shape {
    long radius;
    explicit Circle(long radius) : radius(radius) {}
    long area() const override {
#ifdef NEW
        if (radius < 0)
            throw std::domain_error("negative radius " + std::to_string(radius));
#endif
        return 355 * radius * radius / 113;
    }
};

NOINLINE std::unique_ptr<Shape> make(const std::string &what, long size) {
    if (what == "circle")
        return std::make_unique<Circle>(size);
    if (what == "square")
        return std::make_unique<Square>(size);
    throw std::invalid_argument(what);
}

template <typename T> NOINLINE T most(const std::vector<T> &values) {
    T best = values.front();
    for (const T &value : values)
#ifdef NEW
        if (best < value)
            best = value;
#else
        if (value < best)
            best = value;
#endif
    return best;
}

std::map<std::string, std::function<long(long)>> operations;

NOINLINE void fill() {
    if (operations.empty()) {
        long step = 3;
        operations["add"] = [step](long x) { return x + step; };
        operations["scale"] = [](long x) {
#ifdef NEW
            return x < 0 ? 0 : x * 10;
#else
            return x * 10;
#endif
        };
    }
}

NOINLINE long apply(long x) {
    fill();
    long sum = 0;
    for (const auto &[name, operation] : operations)
#ifdef NEW
        sum += operation(x) + (long)name.size();
#else
        sum += operation(x);
#endif
    return sum;
}

} // namespace

extern "C" void command(const char *line) {
    char what[32];
    long size;
    try {
        if (sscanf(line, "area %31s %ld", what, &size) == 2)
            printf("%ld\n", make(what, size)->area());
        else if (!strcmp(line, "most"))
            printf("%d %s\n", most<int>({3, 9, 4}), most<std::string>({"oak", "yew", "elm"}).c_str());
        else if (sscanf(line, "apply %ld", &size) == 1)
            printf("%ld\n", apply(size));
    } catch (const std::logic_error &error) {
        printf("caught %s\n", error.what());
    }
}
