//! The payload's symbol table: what `readelf -s` and a reviewer see.

use super::Out;
use crate::addr::{DataId, FuncId, ImportId, Svma};
use crate::image::{DynReloc, Symbol};
use crate::include::Analysis;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Definition {
    /// The start of a section (STT_SECTION).
    Section(Out),
    Code {
        offset: u64,
        size: u64,
    },
    Object {
        out: Out,
        offset: u64,
        size: u64,
    },
    /// Bound to an svma of the old image.
    Old(Svma),
    /// The eight bytes at an svma of the old image, as they are in the process.
    Word(Svma),
    Import {
        name: String,
        version: Option<String>,
        weak: bool,
        /// Where the old image defines it: the process must use that definition.
        own: Option<Svma>,
    },
}

#[derive(Clone, Debug)]
pub struct OutSymbol {
    pub name: String,
    pub definition: Definition,
}

#[derive(Debug)]
pub struct Symbols<'a> {
    analysis: Analysis<'a>,
    table: Vec<OutSymbol>,
    sections: BTreeMap<Out, u32>,
    old: BTreeMap<Svma, u32>,
    words: BTreeMap<Svma, u32>,
    imports: BTreeMap<ImportId, u32>,
    functions: BTreeMap<(FuncId, u8), u32>,
    data: BTreeMap<DataId, u32>,
    stub_names: HashMap<Svma, String>,
    taken: BTreeSet<String>,
}

impl<'a> Symbols<'a> {
    pub fn new(analysis: Analysis<'a>) -> Symbols<'a> {
        let old = analysis.old_image;
        let stubs = old.plt.iter().filter_map(|stub| match old.dynamic.get(&stub.slot)? {
            DynReloc::JumpSlot { import, .. } | DynReloc::Symbol { import, .. } => {
                Some((stub.range.start, format!("{}@plt", old.imports[import.index()].name)))
            }
            _ => None,
        });
        Symbols {
            analysis,
            table: Vec::new(),
            sections: BTreeMap::new(),
            old: BTreeMap::new(),
            words: BTreeMap::new(),
            imports: BTreeMap::new(),
            functions: BTreeMap::new(),
            data: BTreeMap::new(),
            stub_names: stubs.collect(),
            taken: BTreeSet::new(),
        }
    }

    pub fn push(&mut self, name: String, definition: Definition) -> u32 {
        let index = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        self.table.push(OutSymbol { name, definition });
        index
    }

    /// Two undefined symbols must not share a name, though two static functions may.
    fn unique(&mut self, name: String, at: Svma) -> String {
        if self.taken.insert(name.clone()) { name } else { format!("{name}.{:x}", at.0) }
    }

    pub fn section(&mut self, out: Out) -> u32 {
        if let Some(&symbol) = self.sections.get(&out) {
            return symbol;
        }
        let symbol = self.push(String::new(), Definition::Section(out));
        self.sections.insert(out, symbol);
        symbol
    }

    pub fn define_function(&mut self, func: FuncId, part: u8, name: String, offset: u64, size: u64) {
        let symbol = self.push(name, Definition::Code { offset, size });
        self.functions.insert((func, part), symbol);
    }

    pub fn define_datum(&mut self, data: DataId, name: String, out: Out, offset: u64, size: u64) {
        let symbol = self.push(name, Definition::Object { out, offset, size });
        self.data.insert(data, symbol);
    }

    pub fn function(&self, func: FuncId, part: u8) -> Option<u32> {
        self.functions.get(&(func, part)).copied()
    }

    pub fn datum(&self, data: DataId) -> Option<u32> {
        self.data.get(&data).copied()
    }

    /// The undefined symbol of the thing of the old image that covers `at`, and the distance from its start.
    pub fn old(&mut self, at: Svma) -> (u32, i64) {
        let (start, name) = self.old_name(at);
        let distance = at.0.wrapping_sub(start.0).cast_signed();
        if let Some(&symbol) = self.old.get(&start) {
            return (symbol, distance);
        }
        let name = self.unique(name, start);
        let symbol = self.push(name, Definition::Old(start));
        self.old.insert(start, symbol);
        (symbol, distance)
    }

    fn old_name(&self, at: Svma) -> (Svma, String) {
        let old = self.analysis.old;
        if let Some(name) = self.stub_names.get(&at) {
            return (at, name.clone());
        }
        if let Some(func) = old.func_at.get(&at) {
            return (at, old.functions[func.index()].name.clone());
        }
        let datum = old.data_at.range(..=at).next_back().map(|(_, id)| &old.data[id.index()]);
        match datum.filter(|d| d.range.contains(at) && !d.name.is_empty()) {
            Some(datum) => (datum.range.start, datum.name.clone()),
            None => (at, format!("old.{:x}", at.0)),
        }
    }

    /// The undefined symbol whose value is what the old image's word at `at` holds.
    pub fn word(&mut self, at: Svma) -> u32 {
        if let Some(&symbol) = self.words.get(&at) {
            return symbol;
        }
        let name = self.unique(format!("word.{:x}", at.0), at);
        let symbol = self.push(name, Definition::Word(at));
        self.words.insert(at, symbol);
        symbol
    }

    pub fn import(&mut self, id: ImportId) -> u32 {
        if let Some(&symbol) = self.imports.get(&id) {
            return symbol;
        }
        let import = &self.analysis.new_image.imports[id.index()];
        let name = match &import.version {
            Some(version) => format!("{}@{version}", import.name),
            None => import.name.clone(),
        };
        let definition = Definition::Import {
            name: import.name.clone(),
            version: import.version.clone(),
            weak: import.weak,
            own: None,
        };
        let symbol = self.push(name, definition);
        self.imports.insert(id, symbol);
        symbol
    }

    /// Asks that the process has no other definition of the old image's exported symbol that wins.
    pub fn demand(&mut self, symbol: &Symbol) {
        let name = self.unique(format!("own:{}", symbol.name), symbol.svma);
        let version = symbol.version.as_deref().map(str::to_owned);
        let own = Some(symbol.svma);
        self.push(name, Definition::Import { name: symbol.name.clone(), version, weak: false, own });
    }

    pub fn finish(self) -> Vec<OutSymbol> {
        self.table
    }
}
