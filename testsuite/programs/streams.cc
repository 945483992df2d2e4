// A usual C++ program at fixed addresses: containers, streams, virtual functions, exceptions. It has copies of the library's tables and type
// information, and the new build of some more.
//#Hazard: C8,C16,C18,D8
//#Matrix: cc=gcc,clang,gcc opt=-O2,-O0,-O1 kind=nopie
//#Expect: live
//#Call: shape 3
//#Call: sum 2
//#Call: bad 7
//#Call: bad 2000
//#Call: wide 9
#include "scenario.h"
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

struct Error : std::runtime_error {
    int code;
    Error(const std::string &what, int number) : std::runtime_error(what), code(number) {}
};

struct Shape {
    virtual ~Shape() {}
    virtual int area() const = 0;
    virtual std::string name() const { return "shape"; }
};

struct Square : Shape {
    int side;
    explicit Square(int n) : side(n) {}
    int area() const override { return side * side; }
};

struct Circle : Shape {
    int radius;
    explicit Circle(int n) : radius(n) {}
    int area() const override { return 3 * radius * radius; }
    std::string name() const override { return "circle"; }
};

static std::map<std::string, int> counts{{"one", 5}, {"three", 2}};

NOINLINE void add(int n, const std::string &name) { counts[name] += n; }

NOINLINE std::unique_ptr<Shape> make(int n) {
#ifdef NEW
    if (n > 2)
        return std::make_unique<Circle>(n + 1);
#else
    if (n > 5)
        return std::make_unique<Circle>(n);
#endif
    return std::make_unique<Square>(n);
}

NOINLINE int sum(int n) {
    int all = 0;
    for (auto &i : counts)
#ifdef NEW
        all += i.second * n + static_cast<int>(i.first.size());
#else
        all += i.second * n;
#endif
    return all;
}

NOINLINE void checked(int n) {
    if (n > 1000)
#ifdef NEW
        throw std::length_error("longer than " + std::to_string(n));
#else
        throw Error("long", n);
#endif
#ifdef NEW
    if (counts.find("absent") != counts.end())
        throw std::domain_error("absent is there");
    if (n > 5)
        throw std::out_of_range("more than 5");
#endif
    throw Error("checked", n);
}

NOINLINE std::string wide(int n) {
    std::ostringstream out;
#ifdef NEW
    out << std::setw(6) << std::setfill('.') << std::hex << n * 255;
#else
    out << std::setw(4) << n;
#endif
    return out.str();
}

extern "C" void command(const char *line) {
    std::istringstream in(line);
    std::string what, name;
    int n = 0;
    in >> what >> n >> name;
    try {
        if (what == "add")
            add(n, name);
        if (what == "shape") {
            auto shape = make(n);
            printf("shape %s, %d.\n", shape->name().c_str(), shape->area());
        }
        if (what == "sum")
            printf("sum %d\n", sum(n));
        if (what == "wide")
            printf("wide %s;\n", wide(n).c_str());
        if (what == "bad")
            checked(n);
    } catch (const Error &e) {
        printf("error %s (%d)\n", e.what(), e.code);
    } catch (const std::exception &e) {
        printf("exception %s!\n", e.what());
    }
}
