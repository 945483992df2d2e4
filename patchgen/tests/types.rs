//! What counts as a change of a type, and what doesn't.

mod support;

use patchgen::types::{self, TypeDiff, TypeKind};
use std::collections::BTreeSet;
use support::{Bench, with_dwarf};

/// Compiles both sources with `flags` and compares them.
fn compare_with(compiler: &str, flags: &str, old: &str, new: &str) -> TypeDiff {
    let bench = Bench::new();
    let ext = if compiler.contains("++") { "cc" } else { "c" };
    for (name, text) in [("old", old), ("new", new)] {
        std::fs::create_dir(bench.path(name)).expect("directory");
        bench.write(&format!("{name}/t.{ext}"), text);
        bench.run(
            compiler,
            &format!("-g -O0 {flags} -shared -fPIC {name}/t.{ext} -o {name}.so -fdebug-prefix-map={name}/=./"),
        );
    }
    let (a, b) = (bench.load("old.so"), bench.load("new.so"));
    with_dwarf(&a, |x| with_dwarf(&b, |y| types::changes(x, y).expect("readable")))
}

fn c(old: &str, new: &str) -> TypeDiff {
    let diff = compare_with("gcc", "", old, new);
    // Both compilers and both versions of DWARF must come to the same end.
    for (compiler, flags) in [("gcc", "-gdwarf-4"), ("clang", "-gdwarf-5"), ("clang", "-gdwarf-4")] {
        let other = compare_with(compiler, flags, old, new);
        let names = |d: &TypeDiff| {
            let layouts: Vec<_> =
                d.layouts.iter().map(|l| (l.name.clone(), l.old_size, l.new_size, l.causes.clone())).collect();
            let enums: Vec<_> = d.enums.iter().map(|e| (e.name.clone(), e.added.clone(), e.changed.clone())).collect();
            let prototypes: Vec<_> = d.prototypes.iter().map(|p| p.symbol.clone()).collect();
            let variables: Vec<_> = d.variables.iter().map(|v| v.name.clone()).collect();
            (layouts, enums, prototypes, variables)
        };
        assert_eq!(names(&diff), names(&other), "{compiler} {flags}");
    }
    diff
}

fn nothing(d: &TypeDiff) {
    let counts = (d.layouts.len(), d.enums.len(), d.prototypes.len(), d.variables.len());
    assert_eq!(counts, (0, 0, 0, 0), "{d:#?}");
    assert!(d.compared > 0);
}

#[test]
fn order_names_and_qualifiers_are_no_change() {
    nothing(&c(
        "struct a { int x; struct { int u; union { int i; float f; }; } n; };
         typedef struct { char *s; unsigned bit : 3; } anon;
         enum e { ONE = 1, TWO };
         struct a va; anon vb; enum e ve; int f(struct a *p, const char *s) { return p->x + *s; }",
        "typedef unsigned flags_t; typedef const char *string_t;
         enum e { TWO = 2, ONE = 1 };
         typedef struct { char const *s; flags_t bit : 3; } anon;
         struct unrelated { int fresh; };
         struct a { int x; struct { int u; union { int i; float f; }; } n; };
         struct unrelated vu; enum e ve; anon vb; struct a va; int f(struct a *p, string_t s) { return p->x - *s; }",
    ));
}

#[test]
fn a_member_is_added() {
    let d = c(
        "struct a { int x; char c; long y; }; struct holds { struct a *p; } h; struct a g; struct has { int k; struct a in[2]; } q;",
        "struct a { int x; char c; int z; long y, w; }; struct holds { struct a *p; } h; struct a g; struct has { int k; struct a in[2]; } q;",
    );
    let names: Vec<_> = d.layouts.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["a", "has"], "a pointer to it changes nothing");
    let a = &d.layouts[0];
    assert_eq!((a.old_size, a.new_size), (Some(16), Some(32)));
    assert!(a.causes.is_empty());
    let fields: Vec<_> = a.fields.iter().map(|f| (f.name.as_str(), f.old.is_some(), f.new.is_some())).collect();
    assert_eq!(fields, [("z", false, true), ("y", true, true), ("w", false, true)]);
    assert_eq!(a.fields[1].old.as_ref().and_then(|f| f.offset), Some(8));
    assert_eq!(a.fields[1].new.as_ref().and_then(|f| f.offset), Some(16));
    assert_eq!(d.layouts[1].causes, ["a"]);
    let variables: Vec<_> = d.variables.iter().map(|v| (v.name.as_str(), v.old_size, v.new_size)).collect();
    assert_eq!(variables, [("g", Some(16), Some(32)), ("q", Some(40), Some(72))]);
}

#[test]
fn a_member_that_fits_in_padding_is_a_change() {
    let d = c("struct a { char c; long y; } g;", "struct a { char c; char d; long y; } g;");
    assert_eq!(d.layouts.len(), 1);
    assert_eq!((d.layouts[0].old_size, d.layouts[0].new_size), (Some(16), Some(16)));
}

#[test]
fn bit_fields() {
    let d = c("struct a { unsigned x : 3, y : 4; int z; } g;", "struct a { unsigned x : 4, y : 4; int z; } g;");
    let fields: Vec<_> = d.layouts[0].fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(fields, ["x", "y"]);
    let x = d.layouts[0].fields[0].clone();
    assert_eq!(x.old.map(|f| f.bits), Some((0, 3)));
    assert_eq!(x.new.map(|f| f.bits), Some((0, 4)));
    let y = d.layouts[0].fields[1].clone();
    assert_eq!(y.old.map(|f| f.bits), Some((3, 4)));
    assert_eq!(y.new.map(|f| f.bits), Some((4, 4)));
}

#[test]
fn inside_what_has_no_name() {
    let d = c(
        "struct a { int k; union { int i; struct { char p, q; }; }; } g; static struct { int x; } lone; int *f(void) { return &lone.x; }",
        "struct a { int k; union { int i; struct { char p, r, q; }; }; } g; static struct { int x; long y; } lone; int *f(void) { return &lone.x; }",
    );
    assert_eq!(d.layouts.len(), 1, "{d:#?}");
    let fields: Vec<_> = d.layouts[0].fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(fields, ["r", "q"]);
    let variables: Vec<_> = d.variables.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(variables, ["g", "lone"]);
}

#[test]
fn a_typedef_names_it() {
    let d = c("typedef struct { int x; } t; t g;", "typedef struct { int x, y; } t; t g;");
    assert_eq!(d.layouts[0].name, "t");
}

#[test]
fn another_kind_under_the_same_name() {
    let d = c("struct a { int x; float y; } g;", "union a { int x; float y; } g;");
    assert_eq!((d.layouts[0].old_kind, d.layouts[0].new_kind), (TypeKind::Struct, TypeKind::Union));
    let d = c("struct a { int x; } g; typedef struct a t;", "enum a { X } g; typedef enum a t;");
    assert_eq!((d.layouts[0].old_kind, d.layouts[0].new_kind), (TypeKind::Struct, TypeKind::Enum));
}

#[test]
fn member_of_another_type_of_the_same_size() {
    let d = c(
        "struct p { int i; }; struct q { int i; }; struct a { unsigned u; struct p *p; int (*f)(int); } g; struct q k;",
        "struct p { int i; }; struct q { int i; }; struct a { int u; struct q *p; int (*f)(long); } g; struct q k;",
    );
    assert_eq!(d.layouts.len(), 1);
    let fields: Vec<_> = d.layouts[0].fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(fields, ["u", "p", "f"]);
    let p = &d.layouts[0].fields[1];
    assert_eq!(p.new.as_ref().map(|f| f.ty.as_str()), Some("struct q *"));
}

#[test]
fn constants() {
    let d = c("enum e { A, B, LAST } g; enum f { P } h;", "enum e { A, B, C, LAST } g; enum f { P, Q } h;");
    assert_eq!(d.enums.len(), 2);
    assert_eq!(d.enums[0].changed, [("LAST".into(), 2, 3)]);
    assert_eq!(d.enums[0].added, [("C".into(), 2)]);
    assert!(!d.enums[0].only_added());
    assert!(d.enums[1].only_added());
    let d = c(
        "enum { ALPHA = 1, BETA = 2 }; int f(int x) { return x == ALPHA || x == BETA; } enum n { NEG = -1 } v;",
        "enum { ALPHA = 1, BETA = 4 }; int f(int x) { return x == ALPHA || x == BETA; } enum n { NEG = -2 } v;",
    );
    let changed: Vec<_> = d.enums.iter().flat_map(|e| e.changed.clone()).collect();
    assert_eq!(changed, [("BETA".into(), 2, 4), ("NEG".into(), -1, -2)]);
}

#[test]
fn prototypes() {
    let d = c(
        "struct s { int i; }; int f(int a, struct s *p) { return a + p->i; } static int g(char c) { return c; } int (*keep)(char) = g; void h(int a, ...) {}",
        "struct s { int i, j; }; int f(int a, struct s *q) { return a - q->j; } static int g(long c) { return c; } int (*keep)(char) = (int (*)(char))g; void h(int a) {}",
    );
    let found: Vec<_> = d.prototypes.iter().map(|p| (p.symbol.as_str(), p.external)).collect();
    assert_eq!(found, [("g", false), ("h", true)]);
    assert_eq!(d.prototypes[0].old, "int g(char)");
    assert_eq!(d.prototypes[0].new, "int g(long)".replace("long", "long int"));
}

#[test]
fn same_name_in_two_units() {
    let bench = Bench::new();
    let unit = |tag: &str, body: &str| {
        format!("struct node {{ {body} }}; static struct node n_{tag}; void *f_{tag}(void) {{ return &n_{tag}; }}")
    };
    for (build, second) in [("old", "long x;"), ("new", "long x, y;")] {
        bench.write("a.c", &unit("a", "int x;"));
        bench.write("b.c", &unit("b", second));
        bench.run("gcc", &format!("-g -shared -fPIC a.c b.c -o {build}.so"));
    }
    let (a, b) = (bench.load("old.so"), bench.load("new.so"));
    let d = with_dwarf(&a, |x| with_dwarf(&b, |y| types::changes(x, y).expect("readable")));
    assert_eq!(d.layouts.len(), 1);
    assert_eq!(d.layouts[0].units, ["b.c"]);
    assert!(!d.layouts[0].ambiguous);
    assert_eq!((d.layouts[0].old_size, d.layouts[0].new_size), (Some(8), Some(16)));
}

#[test]
fn classes() {
    let old = "namespace n { struct base { virtual ~base(); virtual void a(); int x; }; struct derived : base { virtual void b(); int y; };
               template <class T> struct box { T value; }; } namespace { struct hidden { int k; } h; }
               n::base::~base() {} void n::base::a() {} void n::derived::b() {} n::derived g; n::box<int> bi; n::box<n::derived> bd; int *p() { return &h.k; }";
    let check = |new: &str, layouts: &[&str], vtables: &[&str]| {
        for compiler in ["g++", "clang++"] {
            let d = compare_with(compiler, "", old, new);
            let got: Vec<_> = d.layouts.iter().filter(|l| !l.only_vtable).map(|l| l.name.as_str()).collect();
            assert_eq!(got, layouts, "{compiler} {d:#?}");
            let got: Vec<_> = d.layouts.iter().filter(|l| l.vtable.is_some()).map(|l| l.name.as_str()).collect();
            assert_eq!(got, vtables, "{compiler} {d:#?}");
        }
    };
    check(old, &[], &[]);
    // A virtual function before the others: every vtable of it and of what derives from it.
    let virtuals =
        old.replace("virtual void a();", "virtual void first(); virtual void a();") + " void n::base::first() {}";
    check(&virtuals, &[], &["n::base", "n::derived"]);
    // A function that isn't virtual changes nothing.
    check(&old.replace("int y;", "int y; int plain() { return y; }"), &[], &[]);
    // A member of the base moves all that holds one.
    let member = old.replace("int x;", "int x; long w;");
    check(&member, &["n::base", "n::box<n::derived>", "n::derived"], &[]);
    let hidden = old.replace("int k;", "int k, l;");
    check(&hidden, &["(anonymous namespace)::hidden"], &[]);
}

#[test]
fn holders_of_a_type() {
    let bench = Bench::new();
    bench.write(
        "t.c",
        "struct a { int x; }; struct in { char c; struct a a[2]; }; static struct in global; struct a *pointer; int plain;
         struct list { struct list *next; struct a *item; } *head;
         int by_value(struct a p) { return p.x; }
         int on_stack(int k) { struct in local = { 0 }; static struct a kept; local.a[1].x = k; kept.x++; return local.a[0].x + kept.x; }
         int only_pointer(struct a *p) { return p->x + global.c; }",
    );
    bench.run("gcc", "-g -O0 -shared -fPIC t.c -o t.so");
    let image = bench.load("t.so");
    let names = BTreeSet::from(["a".to_owned()]);
    let h = with_dwarf(&image, |info| types::holders(info, &names).expect("readable"));
    let only = |l: &[types::Holder]| -> Vec<String> { l.iter().map(|h| h.name.clone()).collect() };
    assert_eq!(only(&h.globals), ["global", "on_stack::kept"]);
    assert_eq!(only(&h.locals), ["by_value", "on_stack"]);
    assert_eq!(only(&h.pointers), ["list::item", "only_pointer::p", "pointer"]);
}

#[test]
fn the_same_storage_in_another_declaration() {
    let same = |old: &str, new: &str| {
        let d = c(old, new);
        assert!(!d.layouts.is_empty());
        d.layouts.iter().all(|l| l.same_storage)
    };
    let room = "struct a { int x; union { struct { int y; long z; }; char room[16]; } u; } g;";
    assert!(same("struct u { int y; long z; }; struct a { int x; struct u u; } g;", room));
    assert!(same("struct a { int x; char more[]; }; struct a *g;", "struct a { int x; }; struct a *g;"));
    // Another member in the union, one in what was padding, one that changed its name.
    let other = "struct a { int x; union { struct { int y; long z; }; double room; } u; } g;";
    assert!(!same("struct u { int y; long z; }; struct a { int x; struct u u; } g;", other));
    assert!(!same("struct a { int x; long y; } g;", "struct a { int x; int new; long y; } g;"));
    assert!(!same("struct a { int x; int y; } g;", "struct a { int y; int x; } g;"));
    assert!(!same("struct a { char x[8]; } g;", "struct a { char y[8]; } g;"));
}
