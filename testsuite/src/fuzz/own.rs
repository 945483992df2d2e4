//! Programs of our own: what csmith's don't have. Arrays beside each other that are walked by pointers, with constant parts of an index
//! folded into the base, far before and behind the array; texts, tables of texts and of functions; state in static locals.

use super::random::Random;
use super::{Pair, Source};
use std::fmt::Write;

/// Types of elements, with the expression that makes a number of one.
const TYPES: [(&str, &str); 7] = [
    ("unsigned char", ""),
    ("unsigned short", ""),
    ("unsigned", ""),
    ("unsigned long", ""),
    ("struct s3", ".m"),
    ("struct s24", ".m[1]"),
    ("double", ""),
];

const STRUCTS: &str =
    "struct s3 { unsigned char a, m, z; };\nstruct s24 { unsigned long a; unsigned m[2]; unsigned long z; };\n";

/// What the arguments of a function start at: what is subtracted from an index again.
const BASES: [u64; 11] = [0, 0, 1, 2, 4, 17, 301, 1001, 4097, 70_000, 5_000_000];

/// Types of the parameter.
const INDEXES: [&str; 4] = ["unsigned long", "long", "int", "unsigned"];

/// Consecutive arguments that a function is called with.
const CALLS: u64 = 8;

const WORDS: [&str; 12] = [
    "alpha",
    "beta",
    "ta",
    "a",
    "gamma ray",
    "ray",
    "%d of %s\\n",
    "n",
    "",
    "no such file or directory",
    "directory",
    "x\\0y",
];

#[derive(Debug, Clone)]
struct Array {
    name: String,
    ty: usize,
    len: u64,
    constant: bool,
    local: bool,
    seed: u64,
}

#[derive(Debug, Clone)]
struct Function {
    name: String,
    base: u64,
    index: &'static str,
    inlined: bool,
    body: Vec<Statement>,
}

/// A statement's form and the numbers in it.
#[derive(Debug, Clone)]
struct Statement {
    form: usize,
    numbers: [u64; 4],
}

const FORMS: usize = 22;

#[derive(Debug, Clone)]
struct Program {
    arrays: Vec<Array>,
    functions: Vec<Function>,
}

pub(super) fn pair(random: &mut Random) -> Option<Pair> {
    let program = program(random);
    let mut changed = program.clone();
    let count = random.pick(&[1, 1, 2, 3]);
    let kinds = (0..count).map(|n| change(&mut changed, random, n)).collect();
    let (old, new) = (program.text(), changed.text());
    (old != new).then(|| Pair { old, new, kinds, flags: Vec::new(), source: Source::Own })
}

fn program(random: &mut Random) -> Program {
    let arrays = (0..4 + random.below(10)).map(|n| array(format!("a{n}"), random)).collect();
    let mut program = Program { arrays, functions: Vec::new() };
    for n in 0..3 + random.below(6) {
        let f = function(format!("f{n}"), random);
        program.functions.push(f);
    }
    program
}

fn array(name: String, random: &mut Random) -> Array {
    let len = random.pick(&[8, 9, 12, 16, 16, 33, 100, 256]);
    Array {
        name,
        ty: random.below(TYPES.len()),
        len,
        constant: random.percent(50),
        local: random.percent(80),
        seed: random.next(),
    }
}

fn function(name: String, random: &mut Random) -> Function {
    Function {
        name,
        base: random.pick(&BASES),
        index: random.pick(&INDEXES),
        inlined: random.percent(25),
        body: (0..1 + random.below(4)).map(|_| statement(random)).collect(),
    }
}

fn statement(random: &mut Random) -> Statement {
    Statement { form: random.below(FORMS), numbers: std::array::from_fn(|_| random.next() >> 16) }
}

/// Changes the program in one place; `n` numbers the changes.
fn change(program: &mut Program, random: &mut Random, n: usize) -> &'static str {
    let f = random.below(program.functions.len());
    let body = &mut program.functions[f].body;
    let at = random.below(body.len());
    match random.below(9) {
        0 => {
            // The first number of a static local is its state, which lives on.
            let first = usize::from(body[at].form == STATE);
            body[at].numbers[first + random.below(4 - first)] = random.next() >> 16;
            "number"
        }
        1 => {
            body[at] = statement(random);
            "replaced"
        }
        2 => {
            body.insert(at, statement(random));
            "inserted"
        }
        3 if body.len() > 1 => {
            body.remove(at);
            "removed"
        }
        4 | 5 => {
            let array = array(format!("new{n}"), random);
            let place = random.below(program.arrays.len() + 1);
            // Statements name arrays by their place: those behind move up, so that they mean the same as before.
            let before = program.arrays.len() as u64;
            for s in program.functions.iter_mut().flat_map(|f| &mut f.body) {
                for slot in [0, 1] {
                    let was = s.numbers[slot] % before;
                    let is = if was >= place as u64 { was + 1 } else { was };
                    if s.uses_array(slot) {
                        s.numbers[slot] = is;
                    }
                }
            }
            program.arrays.insert(place, array);
            let mut user = statement(random);
            user.form = WITH_ARRAY[random.below(WITH_ARRAY.len())];
            user.numbers[0] = place as u64;
            program.functions[f].body.insert(at, user);
            "array"
        }
        6 => {
            let mut added = function(format!("g{n}"), random);
            added.inlined = false;
            program.functions.insert(0, added);
            "function"
        }
        7 => {
            let constants: Vec<usize> = (0..program.arrays.len()).filter(|&i| program.arrays[i].constant).collect();
            if !constants.is_empty() {
                let i = random.pick(&constants);
                program.arrays[i].seed = random.next();
            }
            "constant"
        }
        _ => {
            body.swap(0, at);
            "moved"
        }
    }
}

/// The form with a static local.
const STATE: usize = 13;

/// Forms whose first number chooses an array.
const WITH_ARRAY: [usize; 10] = [2, 3, 4, 5, 6, 16, 18, 19, 20, 21];

impl Statement {
    fn uses_array(&self, slot: usize) -> bool {
        WITH_ARRAY.contains(&self.form) && (slot == 0 || self.form == 19)
    }

    /// As C, inside of `f`, whose place among the functions is `at`.
    fn text(&self, program: &Program, f: &Function, at: usize) -> String {
        let [p, q, r, s] = self.numbers;
        let a = &program.arrays[(p % program.arrays.len() as u64) as usize];
        let (name, len, (ty, member)) = (&a.name, a.len, TYPES[a.ty]);
        let constant = if a.constant { "const " } else { "" };
        // `n` runs over CALLS values from the base on, so the index over as many from here on.
        let from = q % (len - CALLS + 1);
        let index = match from >= f.base {
            true => format!("n + {}", from - f.base),
            false => format!("n - {}", f.base - from),
        };
        let low = q % len;
        let word = |n: u64| WORDS[(n % WORDS.len() as u64) as usize];
        match self.form {
            0 => format!("h += {}u;", p & 0xffff_ffff),
            1 => format!("h = h * {}u ^ (h >> {});", (p & 0xffff) | 1, q % 31 + 1),
            2 => format!("h += (unsigned){name}[{index}]{member};"),
            3 => format!("for (unsigned i = {low}; i < {len}; i++) h = h * 3 + (unsigned){name}[i]{member};"),
            4 => format!(
                "for (const {ty} *p = {name} + {low}; p != {name} + {len}; p++) h = h * 5 + (unsigned)(*p){member};"
            ),
            5 => format!("for (const {ty} *p = {name} + {len}; p-- != {name};) h = h * 7 ^ (unsigned)(*p){member};"),
            6 => format!(
                "{{ const {ty} *e = {name} + {len}; for (long i = -{}; i < 0; i++) h += (unsigned)e[i]{member} * (h | 1); }}",
                low + 1
            ),
            7 => format!("for (const char *s = \"{}{}\"; *s; s++) h = h * 31 + *s;", word(p), word(q)),
            8 => format!("h += \"{} {:x}\"[h & 3];", word(p), r & 0xffff_ffff),
            9 => format!("for (const char *s = &\"{}{:04x}\"[n & 1]; *s; s++) h = h * 33 ^ *s;", word(p), q & 0xffff),
            10 => {
                let cases: String = (0..5 + p % 7)
                    .map(|k| match (q >> k) & 3 {
                        0 => format!("case {k}: h += {}; break; ", (r >> k) & 0x3ff),
                        1 => format!("case {k}: h = h * {}u; break; ", ((s >> k) & 0xff) | 1),
                        2 => format!("case {k}: h ^= n + {k}; break; "),
                        _ => format!("case {k}: for (unsigned i = 0; i < (h & 3); i++) h += h >> {}; break; ", k + 1),
                    })
                    .collect();
                format!("switch ((h >> {}) & 15) {{ {cases} default: h--; }}", p % 13)
            }
            11 => format!("h += (unsigned)((double)(h & 4095) * {}.5 / {}.25);", p & 0xfff, (q & 0xff) + 1),
            12 if at > 0 => {
                let g = &program.functions[(p % at as u64) as usize];
                format!("h ^= {}({}u + (h & {}));", g.name, g.base, CALLS - 1)
            }
            STATE => format!("{{ static unsigned state = {}; state += {}; h ^= state; }}", p & 0xff, q & 0xfff),
            14 if at > 1 => {
                let pick = |n: u64| &program.functions[(n % at as u64) as usize];
                let entry = |g: &Function| format!("{{(unsigned (*)()){}, {}u}}", g.name, g.base);
                let (f, g) = (pick(p), pick(q));
                let same = [f, g].map(|x| matches!(x.index, "unsigned long" | "long"));
                let ty = if same == [true, true] { "long" } else { "int" };
                if same[0] == same[1] {
                    format!(
                        "{{ static const struct {{ unsigned (*f)(); unsigned {ty} n; }} t[] = {{{}, {}}}; \
                         h += t[h & 1].f(t[h & 1].n); }}",
                        entry(f),
                        entry(g)
                    )
                } else {
                    "h = ~h;".to_owned()
                }
            }
            15 => format!(
                "{{ static const char *const t[] = {{\"{}\", \"{}{}\", \"{}\", \"{:x}\"}}; \
                 for (const char *s = t[h & 3]; *s; s++) h = h * 17 + *s; }}",
                word(p),
                word(q),
                word(r),
                word(s),
                s & 0xffff
            ),
            16 if !a.constant && matches!(a.ty, 0..=3) => format!("{name}[{index}] += h;"),
            17 => {
                let numbers: Vec<String> = (0..6 + p % 5).map(|k| ((q >> k) & 0xffff).to_string()).collect();
                format!("{{ const unsigned t[] = {{{}}}; h += t[h % {}]; }}", numbers.join(", "), numbers.len())
            }
            18 => format!("h += (unsigned)((const char *)&{name}[{index}] - (const char *){name});"),
            19 => {
                let b = &program.arrays[(q % program.arrays.len() as u64) as usize];
                let n = len.min(b.len) - 1;
                format!(
                    "for (unsigned i = 0; i < {n}; i++) h = h * 9 + (unsigned){name}[i]{member} * (unsigned){}[i + 1]{};",
                    b.name, TYPES[b.ty].1
                )
            }
            20 => format!(
                "{{ {constant}{ty} *p = h & {} ? &{name}[{index}] : {name}; h += (unsigned)(*p){member}; }}",
                1 << (r % 8)
            ),
            21 => format!(
                "for (unsigned i = {}; i-- > 0;) h = (h << 1 | h >> 31) + (unsigned){name}[i]{member};",
                low + 1
            ),
            _ => format!("h = h ^ {}u;", r & 0xffff),
        }
    }
}

impl Program {
    fn text(&self) -> String {
        let mut out = format!("#include <stdio.h>\n{STRUCTS}");
        for a in &self.arrays {
            let mut numbers = Random::new(a.seed);
            let values: Vec<String> = (0..a.len).map(|_| a.value(&mut numbers)).collect();
            let (local, constant) = (if a.local { "static " } else { "" }, if a.constant { "const " } else { "" });
            let (ty, _) = TYPES[a.ty];
            // Nothing may be known of its elements when code is made for it.
            let _ = writeln!(out, "{local}{constant}{ty} {}[{}] = {{{}}};", a.name, a.len, values.join(","));
        }
        for (at, f) in self.functions.iter().enumerate() {
            let attribute = if f.inlined { "inline" } else { "__attribute__((noinline, noclone))" };
            let _ = writeln!(
                out,
                "static {attribute} unsigned {}({} n)\n{{\n    unsigned h = (unsigned)n;",
                f.name, f.index
            );
            for s in &f.body {
                let _ = writeln!(out, "    {}", s.text(self, f, at));
            }
            let _ = writeln!(out, "    return h;\n}}");
        }
        let _ = writeln!(out, "int run(void)\n{{\n    unsigned h = 1;");
        for f in &self.functions {
            let _ = writeln!(
                out,
                "    for (unsigned i = 0; i < {CALLS}; i++) h = h * 31 + {}({}u + i);\n    printf(\"{} %08x\\n\", h);",
                f.name, f.base, f.name
            );
        }
        for a in self.arrays.iter().filter(|a| !a.constant) {
            let member = TYPES[a.ty].1;
            let _ = writeln!(
                out,
                "    for (unsigned i = 0; i < {}; i++) h = h * 13 + (unsigned){}[i]{member};",
                a.len, a.name
            );
        }
        let _ = writeln!(out, "    printf(\"end %08x\\n\", h);\n    return 0;\n}}");
        out
    }
}

impl Array {
    fn value(&self, numbers: &mut Random) -> String {
        match self.ty {
            0 => format!("{}", numbers.bits(8)),
            1 => format!("{}", numbers.bits(16)),
            2 => format!("{}u", numbers.bits(32)),
            3 => format!("{}ul", numbers.next() >> 8),
            4 => format!("{{{},{},{}}}", numbers.bits(8), numbers.bits(8), numbers.bits(8)),
            5 => format!("{{{},{{{},{}}},{}}}", numbers.bits(30), numbers.bits(30), numbers.bits(30), numbers.bits(30)),
            _ => format!("{}.25", numbers.bits(20)),
        }
    }
}
